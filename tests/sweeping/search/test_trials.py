"""The trials of a search: what is suggested, answered, given up, and remembered over its starts."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.trial import TrialState
from support import stand_in_run

from anima_exp.config import Direction
from anima_exp.config.former_names import first_name
from anima_exp.errors import ConfigError, InUseError
from anima_exp.sweeping.cell import Outcome
from anima_exp.sweeping.grid import make_cell
from anima_exp.sweeping.search.space import Search, Steps, search_space
from anima_exp.sweeping.search.study import JOURNAL, Study
from anima_exp.sweeping.search.trials import Trials
from anima_exp.system.json_lines import JsonLinesLog

LEARNING_RATE = "optimizer.learning_rate=tag(log, interval(1e-4, 1e-2))"


def space_of(*arguments, **params):
    return search_space(OverridesParser.create(), arguments, params)


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
        return Trials(
            study,
            metric="heldout_loss",
            retries=retries,
            compose=self.cell,
            on_new_cell=lambda: None,
        )

    def cell(self, trial):
        overrides = self.space.overrides(trial.values)
        said = dict(override.split("=") for override in overrides)
        config = replace(
            self.config,
            runs_dir=str(self.folder),
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
        for step in range(1, config.trainer.max_steps):
            row = {
                "step": step,
                "heldout_loss": stand_in_run.value(config, step),
                "eval_seconds": 0,
            }
            JsonLinesLog(job.cell.folder / "metrics.jsonl").append(row)
            if schedule.should_prune(job, [row]):
                return Outcome.pruned
        if config.lora.rank == 13:
            return Outcome.failed
        stand_in_run.record(config, job.cell.folder, starts=1).save(job.cell.folder)
        return Outcome.done


@pytest.fixture
def searched(tmp_path, compose) -> Searched:
    return Searched(tmp_path / "search", compose("trainer.max_steps=10"))


def values_of(trials):
    return [trial.params for trial in trials]


def test_a_search_asks_for_as_many_trials_as_wanted_over_all_starts(searched):
    first = searched.go(5)
    assert len(first) == 5
    more = [trial for trial in searched.go(12) if "again" not in trial.user_attrs]
    assert values_of(more)[:5] == values_of(first)
    assert len(more) == 12


def test_a_study_goes_on_after_a_setting_was_renamed(searched):
    """Its file has the name that the setting was born with; all others see today's."""
    searched.space = space_of("trainer.max_steps=1,2,3")
    steps = "trainer.max_steps"
    with searched.study(3) as study:
        first = study.ask()
        assert set(first.values) == {steps}
        study.tell(first.number, 1.0)
    journal = (searched.folder / JOURNAL).read_text()
    assert "trainer.steps" in journal and steps not in journal
    with searched.study(3) as study:
        assert study.values(study.trials[0]) == first.values
        study.tell(study.ask().number, 2.0)
        assert set(study.importance()) == {steps}
    assert searched.space.lines(first_name) == ["trainer.steps=1,2,3"]


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
            study, metric="heldout_los", retries=0, compose=searched.cell, on_new_cell=lambda: None
        )
        job = schedule.next()
        searched.run(schedule, job)
        with pytest.raises(
            ConfigError, match=r"^sweep\.metric=heldout_los was not measured by .*: hel"
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
        pytest.raises(InUseError, match=r"search is in use by another process"),
        searched.study(4),
    ):
        pass


def test_the_study_is_one_that_optuna_itself_can_read(searched):
    searched.go(4)
    backend = optuna.storages.journal.JournalFileBackend(str(searched.folder / JOURNAL))
    storage = optuna.storages.JournalStorage(backend)
    assert len(optuna.load_study(study_name="search", storage=storage).trials) == 4
