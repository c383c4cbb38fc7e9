"""A search finds, remembers and goes on: hydra/sweeper=optuna."""

import os
import re
import signal
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import stand_in
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.trial import TrialState

import hydra_plugins.anima_exp as plugin
from anima_exp.config import Direction
from anima_exp.errors import ConfigError, InUse
from anima_exp.results.lines import StepLines
from anima_exp.sweep.grid import make_cell
from anima_exp.sweep.job import Outcome
from anima_exp.sweep.search_settings import Search, Steps
from anima_exp.sweep.space import search_space
from anima_exp.sweep.study import JOURNAL, Study
from anima_exp.sweep.trials import Trials

LEARNING_RATE = "optimizer.learning_rate=tag(log, interval(1e-4, 1e-2))"


def space_of(*arguments, **params):
    return search_space(OverridesParser.create(), arguments, params)


def test_a_search_without_optuna_says_what_to_install(monkeypatch):
    monkeypatch.setattr(plugin, "find_spec", lambda name: None)
    message = "hydra/sweeper=optuna needs Optuna: pip install 'anima-exp[optuna]'"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        plugin.OptunaSweeper().sweep([])


class Searched:
    """A search whose runs take no time: `ends` says how each goes."""

    def __init__(self, folder: Path, config) -> None:
        self.folder, self.config = folder, config
        self.began: list[str] = []  # the cells that were run, in order
        self.space = space_of(LEARNING_RATE, "lora.rank=8,13,16")

    def study(self, n_trials: int, *, pruner="none", sampler="tpe", direction="minimize") -> Study:
        search = Search(n_trials, sampler, pruner, seed=0, batch_size=4)
        steps = Steps(first=1, last=10, factor=3)
        direction = Direction[direction]
        return Study(self.folder, self.space, search, direction=direction, steps=steps)

    def schedule(self, study: Study, *, retries=0) -> Trials:
        self.cells = []
        return Trials(
            study, metric="heldout_loss", retries=retries, compose=self.cell,
            added=self.cells.append,
        )  # fmt: skip

    def cell(self, trial):
        overrides = self.space.overrides(trial.values)
        said = dict(override.split("=") for override in overrides)
        config = replace(
            self.config,
            runs=str(self.folder),
            lora=replace(self.config.lora, rank=int(said["lora.rank"])),
            optimizer=replace(
                self.config.optimizer, learning_rate=float(said["optimizer.learning_rate"])
            ),
        )
        if config.lora.rank == 16:
            raise ConfigError("rank 16 contradicts something")
        return make_cell(trial.number, overrides, config, ())

    def go(self, n_trials: int, *, stop_after: int | None = None, **how) -> list:
        """Run all, or abandon everything in the middle of a trial; the trials of the study."""
        with self.study(n_trials, **how) as study:
            schedule = self.schedule(study)
            while schedule.waiting and (job := schedule.next()):
                self.began.append(job.cell.name)
                if stop_after == len(self.began):
                    return study.trials
                schedule.ended(job, self.run(schedule, job))
            self.stopped = schedule.stopped()
            return study.trials

    def run(self, schedule, job) -> Outcome:
        config = job.cell.config
        job.cell.folder.mkdir(parents=True, exist_ok=True)
        for step in range(1, config.trainer.steps):
            row = {"step": step, "heldout_loss": stand_in.value(config, step), "eval_seconds": 0}
            StepLines(job.cell.folder / "metrics.jsonl").append(row)
            if schedule.give_up(job, [row]):
                return Outcome.given_up
        if config.lora.rank == 13:
            return Outcome.failed
        stand_in.record(config, job.cell.folder, starts=1).save(job.cell.folder)
        return Outcome.done


@pytest.fixture
def searched(tmp_path, compose) -> Searched:
    return Searched(tmp_path / "search", compose("trainer.steps=10"))


def values_of(trials):
    return [trial.params for trial in trials]


def test_a_search_asks_for_as_many_trials_as_wanted_over_all_starts(searched):
    first = searched.go(5)
    assert len(first) == 5
    more = [trial for trial in searched.go(12) if "again" not in trial.user_attrs]
    assert values_of(more)[:5] == values_of(first)
    assert len(more) == 12


def test_an_interrupted_search_suggests_what_an_undisturbed_one_does(searched, tmp_path):
    whole = Searched(tmp_path / "whole", searched.config)
    searched.space = whole.space = space_of(LEARNING_RATE, "lora.rank=8,10,12")
    undisturbed = whole.go(14)
    for stop in (1, 3, 4, 9):
        searched.go(14, stop_after=stop)
    assert values_of(searched.go(14)) == values_of(undisturbed)
    finished = [name for name in searched.began if (searched.folder / name).is_dir()]
    assert set(finished) == set(whole.began)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_another_start_draws_no_trial_a_second_time(searched, sampler):
    for wanted in (3, 6, 9):
        trials = searched.go(wanted, sampler=sampler)
    asked = [trial for trial in trials if "again" not in trial.user_attrs]
    drawn = [trial.params["optimizer.learning_rate"] for trial in asked]
    assert len(set(drawn)) == 9


def test_a_trial_that_was_running_is_run_again_and_not_suggested_anew(searched):
    searched.space = space_of(LEARNING_RATE, "lora.rank=8,10,12")
    begun = searched.go(6, stop_after=2)
    assert begun[1].state is TrialState.RUNNING
    ended = searched.go(6)
    assert searched.began[1] == searched.began[2]
    assert values_of(ended)[:2] == values_of(begun)
    assert [trial.state for trial in ended] == [TrialState.COMPLETE] * 6


def test_a_combination_that_cannot_run_fails_alone_and_says_why(searched):
    trials = searched.go(10)
    refused = [trial for trial in trials if "mistake" in trial.user_attrs]
    assert refused
    assert all(trial.state is TrialState.FAIL for trial in refused)
    assert {t.user_attrs["mistake"] for t in refused} == {"rank 16 contradicts something"}
    assert {trial.params["lora.rank"] for trial in refused} == {"16"}


def test_what_ran_and_failed_is_tried_again_at_the_next_start_only(searched):
    failed = [t for t in searched.go(10) if t.params["lora.rank"] == "13"]
    assert failed
    begun = len(searched.began)
    again = [trial for trial in searched.go(10) if "again" in trial.user_attrs]
    assert values_of(again) == values_of(failed)
    assert len(searched.began) == begun + len(failed)


def test_a_repeated_suggestion_is_answered_from_its_record(searched):
    searched.space = space_of("optimizer.learning_rate=1e-4,1e-3", "lora.rank=8,10")
    trials = searched.go(12)
    assert len(trials) == 12
    assert len(searched.began) == len(set(searched.began)) <= 4
    told = {}
    for trial in trials:
        told.setdefault(trial.user_attrs["cell"], set()).add(trial.value)
    assert all(len(values) == 1 for values in told.values())


def test_a_suggestion_equal_to_a_running_trial_waits_for_its_end(searched):
    searched.space = space_of("lora.rank=8", "optimizer.learning_rate=choice(1e-3)")
    with searched.study(3) as study:
        schedule = searched.schedule(study)
        job = schedule.next()
        assert schedule.next() is None  # asked once, and no more before something ends
        assert len(study.trials) == 2
        schedule.ended(job, searched.run(schedule, job))
        assert schedule.next() is None
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
        assert not schedule.waiting


@pytest.mark.parametrize("pruner", ["median", "successive_halving", "hyperband"])
def test_a_hopeless_trial_is_given_up_and_stays_so(searched, pruner):
    searched.space = space_of(LEARNING_RATE, "lora.rank=8,10")
    trials = searched.go(20, pruner=pruner)
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
    assert pruned
    assert set(searched.stopped) == {trial.user_attrs["cell"] for trial in pruned}
    for trial in pruned:
        told = searched.stopped[trial.user_attrs["cell"]]
        assert told["reason"] == f"{pruner} pruner"
        assert (told["metric"], told["step"]) == ("heldout_loss", trial.last_step)
    stopped, began = searched.stopped, len(searched.began)
    searched.go(20, pruner=pruner)
    assert (searched.stopped, len(searched.began)) == (stopped, began)


@pytest.mark.parametrize(("direction", "best"), [("minimize", min), ("maximize", max)])
def test_the_best_is_the_smallest_or_the_largest(searched, direction, best):
    searched.space = space_of(LEARNING_RATE, "lora.rank=8,10")
    trials = searched.go(15, direction=direction)
    with searched.study(15, direction=direction) as study:
        assert study.best.value == best(trial.value for trial in trials)
        assert max(study.importance(), key=study.importance().get) == "optimizer.learning_rate"
    assert best(trial.value for trial in trials[10:]) != best(trial.value for trial in trials[:10])


def test_a_metric_that_nothing_measures_ends_the_search_at_once(searched):
    with searched.study(5) as study:
        schedule = Trials(
            study, metric="heldout_los", retries=0, compose=searched.cell, added=lambda cell: None
        )
        job = schedule.next()
        searched.run(schedule, job)
        with pytest.raises(
            ConfigError, match=r"^sweep\.metric=heldout_los is not among what .*: hel"
        ):
            schedule.ended(job, Outcome.done)


def test_half_a_line_of_the_journal_is_cut(searched):
    trials = searched.go(4)
    with (searched.folder / JOURNAL).open("a") as file:
        file.write('{"op_code": 4, "wor')
    assert values_of(searched.go(5))[:4] == values_of(trials)


def test_one_process_at_a_time_has_a_search(searched):
    with (
        searched.study(4),
        pytest.raises(InUse, match=r"search is in use by another process"),
        searched.study(4),
    ):
        pass


def test_the_study_is_one_that_optuna_itself_can_read(searched):
    searched.go(4)
    backend = optuna.storages.journal.JournalFileBackend(str(searched.folder / JOURNAL))
    storage = optuna.storages.JournalStorage(backend)
    assert len(optuna.load_study(study_name="search", storage=storage).trials) == 4


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
    assert "The same command goes on from there." in stopped.told()
    [begun] = sweeps.runs.glob("*/checkpoints")
    assert not sweeps.records()
    again = done(search(sweeps, "lora.rank=8,16", n_trials=3))
    assert "1 half done" in again
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


def test_failed_trials_end_with_their_reasons(sweeps):
    failed = search(sweeps, "lora.rank=choice(13)", n_trials=2)
    assert failed.wait(120) == 1
    assert "0 of 2 trials done, 2 failed\n" in failed.told()
    assert "lora.rank=13: rank 13 brings bad luck (" in failed.told()
    assert "anima_exp: 2 of 2 trials failed; the same command tries them again." in failed.told()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lora.rnak=8,16", "There is no setting 'lora.rnak'. Did you mean 'lora.rank'?"),
        ("hydra.sweeper.sampler=tpa", "hydra.sweeper.sampler=tpa is not one of tpe, random."),
        (
            "hydra.sweeper.pruner=median",
            "hydra.sweeper.pruner=median looks at sweep.metric=heldout_loss during a run, but "
            "trainer.eval_every=125 has it at the end only. Give trainer.eval_every=STEPS, fewer "
            "than trainer.steps=9.",
        ),
        (
            "sweep=table9",
            "hydra.sweeper.rows: rows and factors make a grid, which hydra/sweeper=grid runs. "
            "hydra/sweeper=optuna searches params and what the command line varies.",
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
