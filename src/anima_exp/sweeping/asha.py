"""Schedule a sweep by asynchronous successive halving (ASHA).

Many cells start, and at each rung the best fraction continues: Li et al. 2020, "A System for
Massively Parallel Hyperparameter Tuning", arXiv 1810.05934, Algorithm 2. A cell pauses at each rung
with a checkpoint and resumes from it if it is promoted, so nothing is trained twice. The schedule
reads everything from the run folders, so a sweep that was killed resumes with the same state.

Settings compete, not runs: all seeds of a setting are promoted or pruned together, by their mean at
the rung. Otherwise each rung would select lucky seeds, and a surviving setting would have fewer
repeats than requested.
"""

from collections import Counter
from dataclasses import replace
from statistics import fmean
from typing import Any

from anima_exp.config import SweepConfig
from anima_exp.errors import ConfigError
from anima_exp.sweeping.cell import Cell, Job, Outcome, State, by_setting
from anima_exp.sweeping.checks import check_metric, metric
from anima_exp.sweeping.schedule import LockedJobs

Setting = tuple[str, ...]  # the names of its runs, one per seed


class Halving:
    """Promote a paused setting if possible; otherwise start a new one."""

    def __init__(self, cells: list[Cell], settings: SweepConfig) -> None:
        self._cells = {cell.name: cell for cell in cells}
        self._settings = settings
        for cell in cells:
            check_metric(cell.config)
        self._metric = metric(replace(cells[0].config, sweep=settings))
        self._rungs = {cell.name: rungs(cell, settings) for cell in cells}
        self._groups = [tuple(cell.name for cell in group) for group in by_setting(cells)]
        self._group_of = {name: group for group in self._groups for name in group}
        self._promoted: Counter[Setting] = Counter()  # the last rung passed, in this process
        self._furthest: dict[str, int] = {}  # the last step that each run has logged
        self._values: dict[str, list[float]] = {c.name: self._read(c) for c in cells}
        self._done = {cell.name for cell in cells if cell.state is State.done}
        self._busy: set[str] = set()  # running here or in another process
        self._elsewhere = LockedJobs()
        self._failures: Counter[str] = Counter()

    @property
    def waiting(self) -> bool:
        return bool(self._elsewhere) or self._choose() is not None

    def next(self) -> Job | None:
        self._busy -= {job.cell.name for job in self._elsewhere.back()}
        name = self._choose()
        if name is None:
            return None
        self._busy.add(name)
        level = len(self._values[name])
        group = self._group_of[name]
        self._promoted[group] = max(level, self._promoted[group])
        steps = self._rungs[name]
        return Job(self._cells[name], until=steps[level] if level < len(steps) else None)

    def ended(self, job: Job, outcome: Outcome) -> None:
        name = job.cell.name
        if outcome is Outcome.in_use:
            self._elsewhere.add(job)
            return
        self._busy.discard(name)
        if outcome is Outcome.failed:
            self._failures[name] += 1
        if outcome is Outcome.done:
            self._done.add(name)
        self._values[name] = self._read(job.cell)
        if outcome is Outcome.paused and not self._values[name]:
            raise ConfigError(
                f"sweep.metric={self._settings.metric} was not logged by {job.cell.folder}, so "
                f"early stopping cannot rank the cells. It logged: "
                f"{', '.join(_logged(job.cell)) or 'nothing'}. Choose one of these."
            )

    def should_prune(self, job: Job, rows: list[dict[str, Any]]) -> bool:
        return False  # a job pauses at its rung by itself

    def stopped(self) -> dict[str, dict[str, Any]]:
        found = {}
        for level in range(1, self._settings.rungs + 1):
            ranks = self._best(level)
            for rank, group in enumerate(ranks, start=1):
                if self._past(group, level):
                    continue
                for name in group:
                    if len(self._values[name]) != level or not self._live(name):
                        continue
                    step = self._rungs[name][level - 1]
                    found[name] = {
                        "rung": level,
                        "step": step,
                        "metric": self._settings.metric,
                        "value": self._values[name][-1],
                        "reason": f"{rank} of {len(ranks)} at step {step}; "
                        f"one in {self._settings.reduction_factor} continued",
                    }
                    if len(group) > 1:
                        scores = self._scores(group, level)
                        found[name] |= {"seeds": len(scores), "mean": fmean(scores)}
                        found[name]["reason"] = (
                            f"{rank} of {len(ranks)} settings at step {step}, by the mean of "
                            f"{len(scores)} seed{'s' * (len(scores) > 1)}; "
                            f"one in {self._settings.reduction_factor} continued"
                        )
        return found

    def reached(self) -> dict[str, list[dict[str, Any]]]:
        return {
            name: [
                {"rung": level, "step": self._rungs[name][level - 1], "value": value}
                for level, value in enumerate(values, start=1)
            ]
            for name, values in self._values.items()
            if values
        }

    def _choose(self) -> str | None:
        """Return the next run to start, or None.

        That is a promotable run of the highest rung, otherwise a new run. If neither exists and
        nothing runs, it is the best paused run.
        """
        free = {name for name in self._cells.keys() - self._busy if self._live(name)}
        for level in range(self._settings.rungs, 0, -1):
            ranks = self._best(level)
            best = ranks[: len(ranks) // self._settings.reduction_factor]
            # If one seed of a setting has passed the rung, its other seeds follow.
            follow = [group for group in self._groups if self._past(group, level)]
            for group in [*follow, *best]:
                for name in group:
                    if len(self._values[name]) == level and name in free:
                        return name
        if fresh := [name for name in free if not self._values[name]]:
            # In the order of their hashes: a grid often goes from bad to good values, and in its
            # own order every cell would be the best so far. A started setting comes first,
            # because it is ranked only when all its seeds have reached the rung.
            return min(fresh, key=self._turn)
        if free and not self._done and not self._busy:
            # With fewer settings than the reduction factor none is promoted: continue the best one.
            return self._last_hope(free)
        return None

    def _turn(self, name: str) -> tuple[bool, str, str]:
        group = self._group_of[name]
        begun = any(self._values[other] or other in self._busy for other in group)
        return not begun, min(map(_hash, group)), _hash(name)

    def _last_hope(self, free: set[str]) -> str:
        level = max(len(self._values[name]) for name in free)
        group = next(one for one in self._best(level) if free.intersection(one))
        return next(name for name in group if name in free)

    def _best(self, level: int) -> list[Setting]:
        """Return the settings whose seeds have all reached rung `level` (from 1), best first."""
        there = [group for group in self._groups if self._is_at(group, level)]
        return sorted(there, key=lambda group: self._better(group, level), reverse=True)

    def _is_at(self, group: Setting, level: int) -> bool:
        # Ignore seeds that failed, and finished seeds without an evaluation at this rung.
        return bool(self._scores(group, level)) and all(
            len(self._values[name]) >= level for name in group if self._live(name)
        )

    def _past(self, group: Setting, level: int) -> bool:
        """Return whether any seed has passed the rung, which lets all seeds pass."""
        return self._promoted[group] >= level or any(
            len(values) > level or (len(values) == level and self._done_beyond(name, level))
            for name in group
            for values in [self._values[name]]
        )

    def _done_beyond(self, name: str, level: int) -> bool:
        # A run that trainer.patience stopped at the rung has not passed it.
        return name in self._done and self._furthest[name] > self._rungs[name][level - 1]

    def _scores(self, group: Setting, level: int) -> list[float]:
        return [self._values[n][level - 1] for n in group if len(self._values[n]) >= level]

    def _better(self, group: Setting, level: int) -> float:
        return -self._metric.sort_key(fmean(self._scores(group, level)))

    def _live(self, name: str) -> bool:
        return name not in self._done and self._failures[name] <= self._settings.retries

    def _read(self, cell: Cell) -> list[float]:
        """Return the metric at each rung that the run has reached, the lowest rung first.

        The value is the last one logged up to the rung. A run that passed the rung in an earlier
        sweep without an evaluation counts with its next value, unless it is done.
        """
        found: list[float] = []
        values = cell.measured(self._settings.metric)
        furthest = max((row["step"] for row in cell.logged()), default=0)
        self._furthest[cell.name] = furthest
        last = 0
        for step in self._rungs[cell.name]:
            here = [value for at, value in values if last < at <= step]
            if not here and cell.state is not State.done:
                here = [value for at, value in values if at > step][:1]
            if not here or furthest < step:
                break
            found.append(here[-1])
            last = step
        return found


def _hash(name: str) -> str:
    return name.rpartition("-")[2]


def rungs(cell: Cell, settings: SweepConfig) -> list[int]:
    """Return the steps at which a run pauses: steps / factor^rungs ... steps / factor.

    Raises:
        ConfigError: if the length is not given in steps, or is too short for so many rungs.
    """
    steps, factor = cell.config.trainer.max_steps, settings.reduction_factor
    if steps is None:
        raise ConfigError(
            "sweep.early_stopping=asha pauses at steps: give trainer.max_steps, not "
            "trainer.num_epochs."
        )
    found = [steps // factor**power for power in range(settings.rungs, 0, -1)]
    if found[0] < 1:
        raise ConfigError(
            f"trainer.max_steps={steps} is too short for sweep.rungs={settings.rungs} with "
            f"sweep.reduction_factor={factor}: the first rung would be before step 1."
        )
    return found


def _logged(cell: Cell) -> list[str]:
    return sorted(
        {key for row in cell.logged() for key in row if key not in ("step", "eval_seconds")}
    )
