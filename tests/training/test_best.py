"""trainer.keep_best and trainer.patience: which weights a run leaves, and when it ends."""

import pytest

from anima_exp.config import TrainerConfig
from anima_exp.errors import ConfigError, RunPaused
from anima_exp.experiment.run import run
from anima_exp.results.journal import MetricsLog
from anima_exp.results.record import Record
from anima_exp.system.json_lines import JsonLinesLog
from anima_exp.training.best import Best

FEW = (
    "data.max_rows=64", "data.heldout_rows=8", "trainer.max_steps=12", "trainer.batch_size=4",
    "trainer.log_every=1", "trainer.eval_every=2", "trainer.save_every=2", "lora=key_query",
    "lora.rank=2", "trainer.max_checkpoints=9", "evals=[heldout]", "tracking=none",
)  # fmt: skip
# At the steps 0, 2, 4, ...; the first is no candidate.
LOSSES = (1.0, 5.0, 3.0, 4.0, 3.5, 4.5, 4.6)


@pytest.fixture
def losses(monkeypatch):
    """losses(...): what the next evaluations find."""

    def _losses(*values):
        script = iter(values)
        monkeypatch.setattr(
            "anima_exp.evals.evaluator.heldout_losses",
            lambda *_, **__: {"heldout_loss": next(script)},
        )

    return _losses


def weights(folder):
    return (folder / "adapter_model.safetensors").read_bytes()


def at(folder, step):
    return folder / "checkpoints" / f"checkpoint-{step}"


def curve(folder):
    timed = {"tokens_per_second", "eval_seconds", "memory_gib"}
    rows = JsonLinesLog(folder / "metrics.jsonl").rows()
    return [{key: value for key, value in row.items() if key not in timed} for row in rows]


def test_the_best_weights_are_left_and_the_record_has_both(
    compose, losses, tmp_path, capsys, shown
):
    config = compose(*FEW, "trainer.keep_best=heldout_loss", f"run_dir={tmp_path}/run")
    losses(*LOSSES)
    assert run(config).scores == {"heldout_loss": 3.0}
    folder = tmp_path / "run"
    record = Record.load(folder)
    assert (record.steps, record.left_at, record.ended) == (12, 4, "")
    assert record.best == {"metric": "heldout_loss", "value": 3.0, "step": 4}
    assert record.scores == {"heldout_loss": 3.0}
    assert record.scores_last == {"heldout_loss": 4.6}
    assert weights(folder / "adapter") == weights(at(folder, 4)) != weights(at(folder, 12))
    assert "best     step 4: heldout_loss 3.0000; its weights are kept" in capsys.readouterr().out
    assert "the weights are those of step 4" in (folder / "adapter" / "README.md").read_text()


def test_a_run_that_gains_nothing_ends_and_its_record_says_why(compose, losses, tmp_path):
    config = compose(*FEW, "trainer.patience=2", f"run_dir={tmp_path}/run")
    losses(*LOSSES)
    assert run(config).scores == {"heldout_loss": 3.5}
    folder = tmp_path / "run"
    record = Record.load(folder)
    assert (record.steps, record.best, record.scores) == (8, {}, {"heldout_loss": 3.5})
    assert record.ended == "trainer.patience=2: 2 evaluations without a gain in heldout_loss"
    assert weights(folder / "adapter") == weights(at(folder, 8))
    assert [row["step"] for row in curve(folder) if "heldout_loss" in row] == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("way", ["paused", "crashed"])
def test_the_best_survives_a_stop_to_the_last_bit(compose, losses, tmp_path, monkeypatch, way):
    def settings(name):
        both = ("trainer.keep_best=heldout_loss", "trainer.patience=3")
        return compose(*FEW, *both, f"run_dir={tmp_path}/{name}")

    found = (1.0, 3.0, 4.0, 5.0, 2.0, 6.0, 7.0)
    losses(*found)
    run(settings("whole"))
    losses(*found)
    if way == "paused":
        with pytest.raises(RunPaused):
            run(settings("broken"), until=6)
        losses(*found[4:])
    else:
        # The evaluation of step 8, the best one, is taken again.
        with monkeypatch.context() as patch:
            log = MetricsLog.trained

            def crash(self, row):
                log(self, row)
                if row["step"] == 8:
                    raise OSError("power cut")

            patch.setattr(MetricsLog, "trained", crash)
            with pytest.raises(OSError, match="power cut"):
                run(settings("broken"))
        losses(*found[4:])
    run(settings("broken"))
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert curve(broken) == curve(whole)
    assert weights(broken / "adapter") == weights(whole / "adapter") == weights(at(whole, 8))
    assert Record.load(broken).best == Record.load(whole).best


def test_a_run_that_was_killed_after_it_ended_early_only_records(compose, losses, tmp_path):
    config = compose(*FEW, "trainer.patience=1", f"run_dir={tmp_path}/run")
    losses(9.0, 3.0, 4.0)
    run(config)
    folder = tmp_path / "run"
    before = curve(folder)
    (folder / "record.json").unlink()
    losses()
    run(config)
    assert Record.load(folder).steps == 4 and curve(folder) == before


def test_a_run_that_trained_all_its_steps_did_not_end_early(compose, losses, tmp_path):
    config = compose(*FEW, "trainer.patience=2", "trainer.max_steps=6", f"run_dir={tmp_path}/run")
    losses(1.0, 3.0, 4.0, 5.0)
    run(config)
    record = Record.load(tmp_path / "run")
    assert (record.steps, record.ended) == (6, "")


def test_answers_of_the_best_weights_are_measured_once_more_if_the_record_is_missing(
    compose, losses, tmp_path, monkeypatch
):
    few = [one for one in FEW if not one.startswith("evals")]
    config = compose(
        *few, "evals=[heldout,answers]", "evals.answers.max_questions=2",
        "evals.answers.max_new_tokens=2", "trainer.keep_best=heldout_loss", "trainer.patience=1",
        f"run_dir={tmp_path}/run",
    )  # fmt: skip
    losses(9.0, 3.0, 4.0)
    run(config)
    first = Record.load(tmp_path / "run")
    assert first.scores.keys() == {"heldout_loss", "answers_match"}
    (tmp_path / "run" / "record.json").unlink()
    losses()
    run(config)
    again = Record.load(tmp_path / "run")
    assert (again.scores, again.scores_last) == (first.scores, first.scores_last)
    assert again.scores_last == {"heldout_loss": 4.0}
    rows = JsonLinesLog(tmp_path / "run" / "metrics.jsonl").rows()
    assert sum("answers_match" in row for row in rows) == 1


def test_all_weights_of_a_model_can_be_the_best(compose, losses, tmp_path):
    from safetensors.torch import load_file
    from torch import equal

    full = [one for one in FEW if not one.startswith("lora")]
    config = compose(
        *full, "lora=full_finetune", "quant=none", "optimizer.learning_rate=1e-4",
        "trainer.max_steps=6",
        "trainer.keep_best=heldout_loss", f"run_dir={tmp_path}/run",
    )  # fmt: skip
    losses(9.0, 3.0, 4.0, 5.0)
    run(config)
    left = load_file(tmp_path / "run" / "model" / "model.safetensors")
    best = load_file(at(tmp_path / "run", 2) / "model.safetensors")
    assert left.keys() == best.keys() and all(equal(left[name], best[name]) for name in left)


@pytest.mark.parametrize(
    ("name", "values", "gains"),
    [
        ("heldout_loss", [3.0, 2.0, 2.0, float("nan"), 1.0], [True, True, False, False, True]),
        ("exact_match", [0.1, 0.1, 0.3], [True, False, True]),
        ("heldout_loss", [float("nan"), 4.0], [False, True]),
    ],
)
def test_a_gain_goes_in_the_direction_of_the_metric(name, values, gains):
    best = Best.of(TrainerConfig(keep_best=name, patience=2))
    assert [best.judge(step, {name: value}) for step, value in enumerate(values)] == gains


def test_the_direction_of_a_score_of_one_s_own_is_what_its_author_says():
    described = {"distance": {"direction": "minimize"}}
    best = Best.of(TrainerConfig(keep_best="distance"), lambda names: described)
    assert [best.judge(step, {"distance": one}) for step, one in enumerate((3.0, 4.0, 2.0))] == [
        True, False, True,
    ]  # fmt: skip


def test_a_score_that_is_not_measured_is_refused_before_anything_is_loaded(compose, tmp_path):
    config = compose(*FEW, "trainer.keep_best=mmlu", f"run_dir={tmp_path}/run")
    with pytest.raises(ConfigError) as error:
        run(config)
    assert str(error.value) == (
        "trainer.keep_best=mmlu is not a score of this run's evaluations, which measure "
        "heldout_loss. Choose one of them, or add an evaluation with evals=[...]."
    )
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_part_of_a_score_of_one_s_own_that_never_comes_is_refused_at_the_first_evaluation():
    best = Best.of(TrainerConfig(keep_best="qa_f1"))
    assert best.checked({"qa_f1": 0.5, "qa_em": 0.1}) == {"qa_f1": 0.5, "qa_em": 0.1}
    with pytest.raises(ConfigError) as error:
        best.checked({"qa_em": 0.1})
    assert str(error.value) == (
        "trainer.keep_best=qa_f1 is not among the scores of this run's evaluations: qa_em. "
        "Choose one of them with trainer.keep_best, or add its evaluation with evals=[...]."
    )
