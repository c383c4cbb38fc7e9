"""Schedule a search: each job is a trial that Optuna suggests.

The overrides of a trial are composed and checked like those of any cell. Its state is in the
study's file and in its run folder, so a search that was killed resumes from both.
"""

import math
from collections.abc import Callable
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from anima_exp.errors import AnimaError, ConfigError
from anima_exp.results.record import Record
from anima_exp.sweeping.cell import Cell, Job, Outcome
from anima_exp.sweeping.schedule import Queue
from anima_exp.sweeping.search.study import AGAIN, CELL, MISTAKE, Study, Trial


class Trials:
    """Ask the study for trials until there are `n_trials`, over all starts.

    Args:
        compose: return the cell of a trial, or raise AnimaError.
        on_new_cell: called when `cells` has one more cell.
    """

    def __init__(
        self,
        study: Study,
        *,
        metric: str,
        retries: int,
        compose: Callable[[Trial], Cell],
        on_new_cell: Callable[[], None],
    ) -> None:
        self._study = study
        self._metric = metric
        self._compose = compose
        self._on_new_cell = on_new_cell
        self._queue = Queue((), retries=retries)
        self.cells: list[Cell] = []  # the cells of all trials, each once
        self._of_cell: dict[str, list[int]] = {}  # the trials that wait for each cell, by its name
        self._unfinished = self._recall()
        study.try_failed_again()

    @property
    def waiting(self) -> bool:
        return self._queue.waiting or bool(self._unfinished) or self._may_ask

    def next(self) -> Job | None:
        while True:
            if job := self._queue.next():
                return job
            if self._unfinished:
                self._begin(self._unfinished.pop(0))
            elif self._may_ask and all(len(trials) == 1 for trials in self._of_cell.values()):
                self._begin(self._study.ask())
            else:
                # Nothing is left, or the sampler has repeated a trial that still runs. It would
                # repeat it until it knows the result.
                return None

    def ended(self, job: Job, outcome: Outcome) -> None:
        cell = job.cell
        self._queue.ended(job, outcome)
        if outcome is Outcome.stopped or cell in self._queue:
            return  # the trial continues: at the next start, or later in this one
        value = self._value(cell) if outcome is Outcome.done else math.nan
        for number in self._of_cell.pop(cell.name):
            if outcome is Outcome.pruned:
                self._study.prune(number)
            elif math.isnan(value):
                self._study.fail(number)
            else:
                self._study.tell(number, value)

    def should_prune(self, job: Job, rows: list[dict[str, Any]]) -> bool:
        number = self._of_cell[job.cell.name][0]
        steps = job.cell.config.trainer.max_steps or math.inf
        seen = [row for row in rows if self._metric in row and 0 < row["step"] < steps]
        for row in seen:
            self._study.report(number, row["step"], row[self._metric])
        return bool(seen) and self._study.should_prune(number)

    def stopped(self) -> dict[str, dict[str, Any]]:
        return {
            trial.user_attrs[CELL]: {
                "step": trial.last_step,
                "metric": self._metric,
                "value": trial.value,
                "reason": f"{self._study.search.pruner} pruner",
            }
            for trial in self._study.trials
            if trial.state is TrialState.PRUNED
        }

    def reached(self) -> dict[str, list[dict[str, Any]]]:
        return {}  # a trial has no rungs

    @property
    def failed(self) -> list[Cell]:
        """The cells whose last trial failed."""
        last = {t.user_attrs[CELL]: t for t in self._study.trials if CELL in t.user_attrs}
        return [cell for cell in self.cells if last[cell.name].state is TrialState.FAIL]

    def _recall(self) -> list[Trial]:
        """Compose the finished trials of earlier starts; return those left running."""
        for trial in self._study.trials:
            if trial.state.is_finished() and CELL in trial.user_attrs:
                self._known(self._compose(Trial(trial.number, self._study.values(trial))))
        return self._study.unfinished()

    def _begin(self, trial: Trial) -> None:
        """Make a job of a trial, unless its result is known or the same cell already runs."""
        number = trial.number
        try:
            cell = self._compose(trial)
        except AnimaError as error:
            self._study.note(number, MISTAKE, str(error))
            self._study.fail(number)
            return
        self._study.note(number, CELL, cell.name)
        earlier = self._earlier(cell, number)
        if earlier is not None:
            self._study.repeat(number, earlier)
        elif cell.name in self._of_cell:
            self._of_cell[cell.name].append(number)
        else:
            count = len(self.cells)
            cell = self._known(cell)
            if len(self.cells) > count:
                self._on_new_cell()
            self._of_cell[cell.name] = [number]
            self._queue.add(cell)

    def _earlier(self, cell: Cell, number: int) -> FrozenTrial | None:
        """Return the last finished trial of the cell, unless trial `number` is a retry."""
        if AGAIN in self._study.trials[number].user_attrs:
            return None
        found = (
            trial
            for trial in reversed(self._study.trials)
            if trial.state.is_finished() and trial.user_attrs.get(CELL) == cell.name
        )
        return next(found, None)

    def _known(self, cell: Cell) -> Cell:
        """Return the cell as it was first composed, and remember a new one."""
        known = next((other for other in self.cells if other.name == cell.name), None)
        if known is None:
            self.cells.append(cell)
        return known or cell

    @property
    def _may_ask(self) -> bool:
        return self._study.waiting or self._study.num_suggestions < self._study.search.n_trials

    def _value(self, cell: Cell) -> float:
        """Return the metric of a finished run: its score, otherwise the last value logged.

        Raises:
            ConfigError: if the run has not measured the metric. Then no trial will.
        """
        scores = Record.read(cell.folder).scores
        logged = [value for _, value in cell.measured(self._metric)]
        if self._metric in scores or logged:
            return float(scores.get(self._metric, logged[-1] if logged else math.nan))
        known = {key for row in cell.logged() for key in row} - {"step", "eval_seconds"}
        raise ConfigError(
            f"sweep.metric={self._metric} was not measured by {cell.folder}. It measured: "
            f"{', '.join(sorted(known | set(scores))) or 'nothing'}. Choose one of these."
        )
