"""A search as its user sees it: hydra/sweeper=optuna, in processes that are killed and stopped."""

import os
import re
import shlex
import signal
import time

import pytest

import hydra_plugins._anima_exp as plugin
from anima_exp.errors import ConfigError

LEARNING_RATE = "optimizer.learning_rate=tag(log, interval(1e-4, 1e-2))"


def test_a_search_without_optuna_says_what_to_install(monkeypatch):
    monkeypatch.setattr(plugin, "find_spec", lambda name: None)
    message = "hydra/sweeper=optuna needs Optuna: pip install 'anima-exp[optuna]'"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        plugin.OptunaSweeper().sweep([])


def search(sweeps, *overrides, n_trials, **how):
    return sweeps.start(
        "hydra/sweeper=optuna",
        f"hydra.sweeper.n_trials={n_trials}",
        LEARNING_RATE,
        *overrides,
        **how,
    )


def done(search) -> str:
    assert search.wait(120) == 0, search.told()
    return search.told()


def suggested(sweeps) -> list[list[str]]:
    [file] = sweeps.sweep_files()
    return [cell["overrides"] for cell in file["cells"]]


def test_a_search_killed_at_any_moment_ends_as_an_undisturbed_one(sweeps, tmp_path):
    for seconds in (2.0, 4.0):
        killed = search(sweeps, "lora.rank=8,16", n_trials=5, step_seconds=0.1)
        time.sleep(seconds)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
    told = done(search(sweeps, "lora.rank=8,16", n_trials=5, step_seconds=0.1))
    assert "5 of 5 trials done\n" in told
    assert len(sweeps.records()) == 5
    disturbed = suggested(sweeps)
    sweeps.runs.rename(tmp_path / "disturbed")
    done(search(sweeps, "lora.rank=8,16", n_trials=5))
    assert suggested(sweeps) == disturbed


def test_ctrl_c_saves_the_running_trial_and_the_same_command_goes_on(sweeps):
    stopped = search(sweeps, "lora.rank=8,16", n_trials=3, step_seconds=0.2)
    while not list(sweeps.runs.glob("*/metrics.jsonl")):
        time.sleep(0.05)
    stopped.send_signal(signal.SIGINT)
    assert stopped.wait(60) == 130
    assert "Run the same command again to resume." in stopped.told()
    [begun] = sweeps.runs.glob("*/checkpoints")
    assert not sweeps.records()
    again = done(search(sweeps, "lora.rank=8,16", n_trials=3))
    assert "1 partly done" in again
    assert sweeps.records()[begun.parent.name]["starts"] == 2
    assert [record["starts"] for record in sweeps.records().values()].count(1) == 2


def test_a_search_leaves_a_sweep_that_can_be_compared(sweeps):
    told = done(
        search(
            sweeps, "lora.rank=8,16", "hydra.sweeper.pruner=median", "sweep.metric=loss",
            "trainer.log_every=1", "launcher.jobs=2", n_trials=9, step_seconds=0.05,
        )
    )  # fmt: skip
    [file] = sweeps.sweep_files()
    assert file["swept"] == ["optimizer.learning_rate", "lora.rank"]
    assert {cell["run"] for cell in file["cells"]} == {
        path.parent.name for path in sweeps.runs.glob("*/settings.json")
    }
    assert set(file["stopped"]) == {cell["run"] for cell in file["cells"]} - set(sweeps.records())
    best = r"best     loss 0\.\d+: optimizer\.learning_rate=0\.0\d+ lora\.rank=\d+ \(runs/"
    assert re.search(best, told)
    assert "compare  python -m anima_exp.compare runs/sweeps/by_hand-" in told


def test_a_search_says_how_to_repeat_its_best_trial_and_the_command_is_right(sweeps):
    told = done(search(sweeps, "lora.rank=8,16", "seed=5", n_trials=2))
    [line] = re.findall(r"^repeat   (.*)$", told, re.MULTILINE)
    command = shlex.split(line)
    assert command[:4] == ["python", "-m", "anima_exp.train", "-m"]
    trials = sweeps.records()
    best = min(trials.values(), key=lambda record: record["scores"]["heldout_loss"])["settings"]
    code, told = sweeps.run(*command[4:])  # which is given `-m trainer.max_steps=9` anyhow
    assert code == 0, told
    again = [record for name, record in sweeps.records().items() if name not in trials]
    assert sorted(record["settings"]["seed"] for record in again) == [6, 7, 8]
    for record in again:
        assert record["settings"] | {"seed": 5, "tracking.group": None} == best | {
            "tracking.group": None
        }
    assert "the mean of 3 seeds: every cell" in told


def test_a_searched_seed_is_said_to_be_luck(sweeps):
    told = done(search(sweeps, "seed=0,1", "dry_run=true", n_trials=2))
    assert "seed     is searched like any setting, so the best trial may only have a lucky" in told


def test_failed_trials_end_with_their_reasons(sweeps):
    failed = search(sweeps, "lora.rank=choice(13)", n_trials=2)
    assert failed.wait(120) == 1
    assert "0 of 2 trials done, 2 failed\n" in failed.told()
    assert "lora.rank=13: rank 13 brings bad luck (" in failed.told()
    assert (
        "anima_exp: 2 of 2 trials failed. Run the same command again to retry them."
        in failed.told()
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lora.rnak=8,16", "There is no setting 'lora.rnak'. Did you mean 'lora.rank'?"),
        ("hydra.sweeper.sampler=tpa", "hydra.sweeper.sampler=tpa is not one of tpe, random."),
        (
            "hydra.sweeper.pruner=median",
            "hydra.sweeper.pruner=median looks at sweep.metric=heldout_loss during a run, but "
            "trainer.eval_every=125 has it at the end only. Give trainer.eval_every=STEPS, fewer "
            "than trainer.max_steps=9.",
        ),
        (
            "sweep=table9",
            "hydra.sweeper.points: points and multipliers make a grid, which hydra/sweeper=grid "
            "runs. hydra/sweeper=optuna searches params and what the command line varies.",
        ),
    ],
)
def test_a_mistake_is_one_line_and_starts_nothing(sweeps, override, message):
    started = search(sweeps, override, n_trials=2)
    assert (started.wait(60), started.told()) == (1, f"anima_exp: {message}\n")
    assert not sweeps.runs.exists()


def test_a_dry_run_shows_what_would_be_searched(sweeps):
    told = done(search(sweeps, "dry_run=true", n_trials=7))
    assert "over    optimizer.learning_rate=tag(log, interval(0.0001, 0.01))" in told
    assert "trials  7: all new" in told
    assert not sweeps.runs.exists()
