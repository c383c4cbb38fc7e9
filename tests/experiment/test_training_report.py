"""The report of what is trained: in the terminal, the record and the card; and its refusals."""

import json
import shutil

import pytest

from anima_exp.errors import ModelError
from anima_exp.events import Plan, listening
from anima_exp.experiment.run import run
from anima_exp.results.record import Record
from anima_exp.results.training_report import TrainingReport, lines, many
from anima_exp.system.paths import tiny_base

FEW = (
    "data.max_rows=40", "data.heldout_rows=4", "trainer.max_steps=1", "trainer.batch_size=2",
    "trainer.eval_every=null", "tracking=none", "evals=[]",
)  # fmt: skip


def base_with(folder, **settings):
    """A copy of the built-in base whose config.json has these settings too."""
    shutil.copytree(tiny_base(), folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return ("model=tiny", f"model.source={folder}")


def test_the_report_stands_in_the_terminal_the_record_and_the_card(compose, tmp_path):
    seen = []
    with listening(seen.append):
        record = run(compose(f"run_dir={tmp_path}/run", *FEW, "lora=attention"))
    report = TrainingReport.of(record.report)
    assert TrainingReport.of(Record.load(record.folder).report) == report
    kinds = {one.kind: one for one in report.kinds}
    assert sum(one.parameters for one in report.kinds) == (
        record.parameters["total"] - record.parameters["trainable"]
    )
    assert sum(one.trained for one in report.kinds) == record.parameters["trainable"]
    assert kinds["attention"].adapted == kinds["attention"].matrices == 20
    assert kinds["feed-forward"].stored == {"nf4": kinds["feed-forward"].parameters}
    (plan,) = [one.lines for one in seen if isinstance(one, Plan)]
    assert plan.items() >= lines(report).items()
    assert plan["untrained"] == "feed-forward has no adapter (lora.target_modules=attention)"
    assert plan["positions"] == "RoPE default, theta 10,000, up to 1,024 tokens"
    assert plan["template"] == "guanaco, the loss is computed on the response"
    card = (tmp_path / "run/adapter/README.md").read_text(encoding="utf-8")
    feed_forward = kinds["feed-forward"].parameters
    assert f"| feed-forward | {feed_forward:,} | nf4 |" in card
    assert "| positions | RoPE default, theta 10,000, up to 1,024 tokens |" in card


def test_a_window_that_the_base_ignores_is_one_line_before_training(compose, tmp_path):
    base = base_with(tmp_path / "base", sliding_window=64)
    with pytest.raises(ModelError) as error:
        run(compose(f"run_dir={tmp_path}/run", *FEW, *base))
    assert str(error.value) == (
        f"model.source={tmp_path}/base: sliding_window=64 in its config changes no logit of "
        "LlamaForCausalLM, which ignores it. Remove it from config.json, or accept it with "
        "model.accept=[ignored_settings]."
    )
    accept = "model.accept=[ignored_settings]"
    assert run(compose(f"run_dir={tmp_path}/run", *FEW, *base, accept)).steps == 1


def test_a_factor_of_rope_in_force_is_in_the_report(compose, tmp_path):
    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}
    base = base_with(tmp_path / "base", rope_parameters=rope)
    record = run(compose(f"run_dir={tmp_path}/run", *FEW, *base))
    assert record.report["positions"] == ("RoPE linear, factor 4, theta 10,000, up to 1,024 tokens")


def test_accepting_a_fault_does_not_rename_a_run(compose):
    from anima_exp.results.identity import run_name

    assert run_name(compose("model.accept=[unquantized]")) == run_name(compose())


def test_counts_are_written_with_a_unit():
    assert [many(one) for one in (999, 1000, 25_200_000, 65e9)] == [
        "999", "1.0 k", "25.2 M", "65.0 B",
    ]  # fmt: skip
