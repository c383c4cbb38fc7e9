"""Keep an Optuna study in one file, which survives a killed process.

Optuna's journal has one line of JSON per event. Only one process at a time uses the file, so it
needs none of Optuna's locks, which a killed process would leave behind.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from filelock import FileLock, Timeout
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from anima_exp.config import Direction
from anima_exp.config.former_names import first_name, of_runs
from anima_exp.errors import InUseError, NewerFileError, RunError, first_line
from anima_exp.libraries.optuna_internals import NoLock, enqueued_values, live_trial
from anima_exp.sweeping.search.space import PRUNERS, SAMPLERS, Search, Space, Steps, Values
from anima_exp.system import json_files

JOURNAL = "study.jsonl"

# User attributes of a trial.
CELL = "cell"  # the name of its run
MISTAKE = "mistake"  # why its settings cannot run
AGAIN = "again"  # the failed trial of an earlier start that it retries


@dataclass(frozen=True)
class Trial:
    """A suggestion of Optuna."""

    number: int
    values: Values


class Study:
    """A study that locks its folder while `with Study(...) as study:` lasts.

    Raises:
        InUseError: if another process uses the folder.
    """

    def __init__(
        self, folder: Path, space: Space, search: Search, *, direction: Direction, steps: Steps
    ) -> None:
        self.folder = folder
        self._space = space
        self.search = search
        self._sampler = SAMPLERS[search.sampler]
        self._pruner = PRUNERS[search.pruner](steps)
        self._direction = direction
        self._lock = FileLock(folder / ".lock")
        self._running: dict[int, optuna.Trial] = {}

    def __enter__(self) -> "Study":
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise InUseError(
                f"{self.folder} is in use by another process, which runs the same search. "
                "Wait for it, or start another search with hydra.sweeper.seed=..."
            ) from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # the sweep prints what happens
        file = self.folder / JOURNAL
        try:
            _cut_half_line(file)
            self._study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(file), NoLock(str(file)))),
                study_name="search",
                direction="minimize" if self._direction is Direction.minimize else "maximize",
                pruner=self._pruner,
                load_if_exists=True,
            )
            self._check_version(file)
        except NewerFileError:
            self._lock.release()
            raise
        except Exception as error:  # Optuna does not check the file: a bad line raises any error
            self._lock.release()
            if isinstance(error, OSError):
                raise RunError(f"Cannot read or write {file}: {error.strerror}.") from error
            raise RunError(
                f"{file} is damaged: {first_line(error) or type(error).__name__}. It holds the "
                "trials of this search. Restore it, or move it away. The search then starts "
                "again, and its finished runs are not trained twice."
            ) from error
        return self

    def _check_version(self, file: Path) -> None:
        """Raise NewerFileError for a study of a later version; stamp a new study."""
        json_files.read_versioned(self._study.user_attrs, file, json_files.STUDY)
        if not self.trials:
            self._study.set_user_attr(json_files.KEY, json_files.STUDY)

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    @property
    def trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    @property
    def num_suggestions(self) -> int:
        """The number of suggestions so far, without retries."""
        return sum(AGAIN not in trial.user_attrs for trial in self.trials)

    @property
    def waiting(self) -> bool:
        """Whether `ask` will return a trial that was enqueued before."""
        return any(trial.state is TrialState.WAITING for trial in self.trials)

    def ask(self) -> Trial:
        # Each trial has its own seed. With one stream of random numbers, an interrupted search
        # would draw its first suggestions a second time.
        seeds = np.random.SeedSequence([self.search.seed, len(self.trials)]).generate_state(1)
        self._study.sampler = self._sampler(int(seeds[0]))
        return self._begin(self._study.ask())

    def unfinished(self) -> list[Trial]:
        """Return the trials that an earlier start left running.

        A kill may have left a suggestion incomplete, so each is suggested again.
        """
        left = [trial for trial in self.trials if trial.state is TrialState.RUNNING]
        self._study.sampler = self._sampler(self.search.seed)
        return [self._begin(live_trial(self._study, trial)) for trial in left]

    def try_failed_again(self) -> None:
        """Enqueue each cell once whose last trial failed in an earlier start."""
        last = {t.user_attrs[CELL]: t for t in self.trials if CELL in t.user_attrs}
        queued = [
            enqueued_values(trial) for trial in self.trials if trial.state is TrialState.WAITING
        ]
        for trial in last.values():
            if trial.state is TrialState.FAIL and trial.params not in queued:
                self._study.enqueue_trial(trial.params, user_attrs={AGAIN: trial.number})

    def note(self, number: int, key: str, value: str) -> None:
        self._running[number].set_user_attr(key, value)

    def report(self, number: int, step: int, value: float) -> None:
        if step not in self._frozen(number).intermediate_values:  # a resumed run reports it again
            self._running[number].report(value, step)

    def should_prune(self, number: int) -> bool:
        return self._running[number].should_prune()

    def tell(self, number: int, value: float) -> None:
        self._study.tell(self._running.pop(number), value)

    def prune(self, number: int) -> None:
        self._study.tell(self._running.pop(number), state=TrialState.PRUNED)

    def fail(self, number: int) -> None:
        self._study.tell(self._running.pop(number), state=TrialState.FAIL)

    def repeat(self, number: int, earlier: FrozenTrial) -> None:
        """Give a trial the result of an earlier trial of the same cell."""
        for step, value in earlier.intermediate_values.items():
            self.report(number, step, value)
        values = earlier.values if earlier.state is TrialState.COMPLETE else None
        self._study.tell(self._running.pop(number), values, state=earlier.state)

    @property
    def best(self) -> FrozenTrial | None:
        done = [trial for trial in self.trials if trial.state is TrialState.COMPLETE]
        return self._study.best_trial if done else None

    def importance(self) -> dict[str, float]:
        """Return each setting's share of the variance between the trials (fANOVA)."""
        shares = optuna.importance.get_param_importances(self._study)
        return {of_runs().key(name): share for name, share in shares.items()}

    def values(self, trial: FrozenTrial | optuna.Trial) -> Values:
        """Return the values of a trial, by the current names of the settings.

        Optuna's file has the original names of settings, so that a search can resume after a
        setting was renamed.
        """
        return {of_runs().key(name): value for name, value in trial.params.items()}

    def _begin(self, trial: optuna.Trial) -> Trial:
        for today, how in self._space.searched.items():
            key = first_name(today)
            if isinstance(how, CategoricalDistribution):
                trial.suggest_categorical(key, how.choices)
            elif isinstance(how, IntDistribution):
                trial.suggest_int(key, how.low, how.high, log=how.log, step=how.step)
            elif isinstance(how, FloatDistribution):
                trial.suggest_float(key, how.low, how.high, log=how.log, step=how.step)
        self._running[trial.number] = trial
        return Trial(trial.number, self.values(trial))

    def _frozen(self, number: int) -> FrozenTrial:
        return self.trials[number]


def _cut_half_line(file: Path) -> None:
    """Remove an incomplete last line, which a kill can leave and Optuna cannot read."""
    if file.exists():
        with file.open("rb+") as journal:
            whole, newline, _ = journal.read().rpartition(b"\n")
            journal.truncate(len(whole) + len(newline))
