"""Evaluations during a run, and again afterwards, give the same figures; results are kept."""

import json
import subprocess
import sys

import pytest

from anima_exp.cli.saved_run import expand_run_argument
from anima_exp.errors import ConfigError
from anima_exp.experiment.run import run
from anima_exp.results import identity
from anima_exp.results.record import Record
from anima_exp.system.json_lines import JsonLinesLog

SETTINGS = (
    "data.max_rows=1200", "data.heldout_rows=40", "trainer.max_steps=40", "trainer.eval_every=20",
    "tracking=none", "evals=[heldout,exact_match,choices]", "evals.choices.max_questions=8",
    "optimizer.learning_rate=4e-3", "trainer.precision=bf16",  # whose rounding shows each other way
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(compose, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tuned"
    run(compose(*SETTINGS, f"run_dir={folder}"))
    return folder


def evaluate(*arguments, cwd=None):
    command = [sys.executable, "-m", "anima_exp.evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=240)


def test_multiple_choice_is_measured_at_every_evaluation_of_a_run(finished):
    measured = [
        row for row in JsonLinesLog(finished / "metrics.jsonl").rows() if "eval_seconds" in row
    ]
    assert [row["step"] for row in measured] == [0, 20, 40]
    rows = JsonLinesLog(finished / "accuracies.jsonl").rows()
    macro = {row["step"]: row["mean"] for row in rows if row["name"] == "macro"}
    assert macro == {row["step"]: row["choices"] for row in measured}
    assert {row["asked"] for row in rows if row["of"] == "subject"} == {8}
    assert Record.load(finished).scores["choices"] == macro[40]


def test_the_tiny_base_is_above_chance(finished):
    rows = JsonLinesLog(finished / "accuracies.jsonl").rows()
    before = next(row for row in rows if row["step"] == 0 and row["name"] == "macro")
    assert before["low"] > 0.25


def test_measured_again_a_run_scores_the_same(finished, tmp_path):
    ended = evaluate(f"run={finished}", "evals=[heldout,exact_match,choices]",
                     "evals.choices.max_questions=8", cwd=tmp_path)  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (file,) = (finished / "evaluations").glob("*.json")
    found = json.loads(file.read_text())
    assert found["model"] == "tuned"
    scores = Record.load(finished).scores
    assert found["scores"] == scores, "to the last bit"
    assert "mean over subjects" in ended.stdout


def test_an_adapter_on_its_base_is_the_same_model(finished, tmp_path):
    ended = evaluate("model=tiny", f"adapter={finished / 'adapter'}", "evals=[choices]",
                     f"runs_dir={tmp_path}", "evals.choices.max_questions=8",
                     "subjects=true")  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (file,) = (tmp_path / "evaluations").glob("tuned-*.json")
    score = json.loads(file.read_text())["scores"]["choices"]
    assert score == Record.load(finished).scores["choices"]
    assert "subtraction" in ended.stdout


def test_a_runs_settings_come_before_what_the_command_says(finished):
    overrides = expand_run_argument(["quant=none", f"run={finished}", "data.heldout_rows=3"])
    assert not any(one.startswith("quant.") for one in overrides)
    assert overrides[-3:] == ["quant=none", f"run={finished}", "data.heldout_rows=3"]
    assert 'data.name="sample"' in overrides
    assert "lora.rank=64" in overrides
    assert not any(one.startswith(("evals", "trainer.max_steps", "optimizer")) for one in overrides)


@pytest.mark.parametrize(
    "text", ["a\\b\\frac{1}", 'say "hi"', "C:\\runs\\", '\\" ${x}', "问：'1', [2]", "", "a\\\\b"]
)
def test_any_text_of_a_run_comes_back_as_it_was(compose, text):
    from anima_exp.cli.overrides import to_override

    config = compose(
        f"data.sample_prompts={to_override([text])}", f"run_dir={to_override(text or 'x')}"
    )
    assert config.data.sample_prompts == [text]
    assert config.run_dir == (text or "x")


def test_other_questions_are_another_run(compose, tmp_path):
    (tmp_path / "val").mkdir()
    file = tmp_path / "val" / "sums_val.csv"
    names = []
    for answer in "BC":
        file.write_text(f"1+1?,1,2,3,4,{answer}\n" * (2 if answer == "C" else 1))
        names.append(identity.run_name(compose("evals=[mmlu]", f"evals.mmlu.path={tmp_path}")))
    elsewhere = tmp_path.rename(tmp_path.with_name("moved"))
    names.append(identity.run_name(compose("evals=[mmlu]", f"evals.mmlu.path={elsewhere}")))
    assert names[0] != names[1] == names[2]


def test_a_run_that_is_not_there_or_not_done_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"is not a run folder: it contains no record\.json"):
        expand_run_argument([f"run={tmp_path}"])
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ConfigError, match="has not finished"):
        expand_run_argument([f"run={tmp_path}"])
    with pytest.raises(ConfigError, match=r"run=x and adapter=y are both set; give one\."):
        expand_run_argument(["run=x", "adapter=y"])


def test_another_bases_adapter_is_one_line(finished, tmp_path, compose):
    import shutil

    adapter = tmp_path / "adapter"
    shutil.copytree(finished / "adapter", adapter)
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({key: one[:1] for key, one in weights.items()}, adapter / "adapter_model.safetensors")
    ended = evaluate(f"adapter={adapter}", "evals=[choices]", f"runs_dir={tmp_path}")
    assert ended.returncode == 1
    assert ended.stderr.startswith(
        f"anima_exp: adapter={adapter} was trained on a base model other than"
    )
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["evals=[answers]"], "evals=[answers] works only in a training run."),
        (["evals=[]"], "evals=[] measures nothing."),
        (["evals=[exact_match]", "data.exact_answers=false"], "evals=[exact_match] measures noth"),
        (["evals=[mmlu]", "evals.mmlu.path=nowhere"], "evals.mmlu.path=nowhere: there is no such"),
        (["evals=[mmlu]", "evals.mmlu.shots=-1"], "evals.mmlu.shots=-1 must be at least 0."),
    ],
)
def test_what_cannot_be_measured_is_one_line(arguments, line, tmp_path):
    ended = evaluate(*arguments, cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"anima_exp: {line}")
    assert ended.stderr.count("\n") == 1


def test_prompts_longer_than_the_models_context_are_one_line(tmp_path):
    for split in ("dev", "val"):
        (tmp_path / split).mkdir()
        text = f'"{"many words " * 150}?",1,2,3,4,B\n' * 5
        (tmp_path / split / f"sums_{split}.csv").write_text(text)
    ended = evaluate("evals=[mmlu]", f"evals.mmlu.path={tmp_path}", f"runs_dir={tmp_path}")
    assert ended.returncode == 1
    assert (
        "but the context of tiny holds 1024. Set evals.mmlu.max_prompt_tokens=1024." in ended.stderr
    )
    assert ended.stderr.count("\n") == 1


def test_prompts_are_written_without_a_model(tmp_path):
    for split in ("dev", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / f"sums_{split}.csv").write_text("1+1?,1,2,3,4,B\n" * 5)
    ended = evaluate("evals=[mmlu]", f"evals.mmlu.path={tmp_path}",
                     f"export_prompts={tmp_path}/out",
                     "evals.mmlu.max_prompt_tokens=60")  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    file = tmp_path / "out" / "mmlu_val_5_shots.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["output"] for row in rows] == ["B"] * 5
    assert "5 of them have room for" in ended.stdout
