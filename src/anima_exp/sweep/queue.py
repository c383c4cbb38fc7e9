"""Cells one after the other, failed ones again if asked: the schedule of a plain grid."""

import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

from anima_exp.sweep.cell import Cell
from anima_exp.sweep.job import Job, Outcome

_ELSEWHERE_SECONDS = 2.0  # between looks at a cell that another process has


class Queue:
    """Gives each cell until it is done, or has failed once and `retries` more times."""

    def __init__(self, cells: Iterable[Cell], *, retries: int) -> None:
        self._jobs = deque(Job(cell) for cell in cells)
        self._elsewhere: deque[tuple[float, Job]] = deque()
        self._retries = retries
        self._failures: Counter[str] = Counter()

    @property
    def waiting(self) -> bool:
        return bool(self._jobs or self._elsewhere)

    def next(self) -> Job | None:
        if not self._jobs:
            self._look_elsewhere()
        return self._jobs.popleft() if self._jobs else None

    def ended(self, job: Job, outcome: Outcome) -> None:
        if outcome in (Outcome.no_slot, Outcome.bad_fork):
            self._jobs.appendleft(job)
        elif outcome is Outcome.in_use:
            self._elsewhere.append((time.monotonic() + _ELSEWHERE_SECONDS, job))
        elif outcome is Outcome.failed:
            self._failures[job.cell.name] += 1
            if self._failures[job.cell.name] <= self._retries:
                self._jobs.append(job)

    def give_up(self, job: Job, rows: list[dict[str, Any]]) -> bool:
        return False

    def _look_elsewhere(self) -> None:
        """Take back cells that another process had, to see whether it has finished them."""
        now = time.monotonic()
        while self._elsewhere and self._elsewhere[0][0] <= now:
            self._jobs.append(self._elsewhere.popleft()[1])
