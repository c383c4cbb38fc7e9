"""Schedule the cells of a plain grid in order, with retries of failed cells."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import Any

from anima_exp.sweeping.cell import Cell, Job, Outcome

_LOOK_AGAIN_SECONDS = 2.0


class Queue:
    """Return each cell until it is done, or has failed more than `retries` times."""

    def __init__(self, cells: Iterable[Cell], *, retries: int) -> None:
        self._jobs = deque(Job(cell) for cell in cells)
        self._elsewhere = LockedJobs()
        self._retries = retries
        self._failures: Counter[str] = Counter()

    def __contains__(self, cell: Cell) -> bool:
        """Return whether `next` will still return the cell."""
        return any(job.cell.name == cell.name for job in [*self._jobs, *self._elsewhere])

    @property
    def waiting(self) -> bool:
        return bool(self._jobs or self._elsewhere)

    def add(self, cell: Cell) -> None:
        self._jobs.append(Job(cell))

    def next(self) -> Job | None:
        if not self._jobs:  # locked cells come last, because they may be done by then
            self._jobs.extend(self._elsewhere.back())
        return self._jobs.popleft() if self._jobs else None

    def ended(self, job: Job, outcome: Outcome) -> None:
        if outcome in (Outcome.gpu_taken, Outcome.cuda_initialized, Outcome.server_gone):
            self._jobs.appendleft(job)
        elif outcome is Outcome.in_use:
            self._elsewhere.add(job)
        elif outcome is Outcome.failed:
            self._failures[job.cell.name] += 1
            if self._failures[job.cell.name] <= self._retries:
                self._jobs.append(job)

    def should_prune(self, job: Job, rows: list[dict[str, Any]]) -> bool:
        return False

    def stopped(self) -> dict[str, dict[str, Any]]:
        return {}

    def reached(self) -> dict[str, list[dict[str, Any]]]:
        return {}


class LockedJobs:
    """Hold the jobs whose cells another process runs, until they are checked again."""

    def __init__(self) -> None:
        self._jobs: deque[tuple[float, Job]] = deque()

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return (job for _, job in self._jobs)

    def add(self, job: Job) -> None:
        self._jobs.append((time.monotonic() + _LOOK_AGAIN_SECONDS, job))

    def back(self) -> list[Job]:
        """Return the jobs that have waited long enough."""
        found = []
        while self._jobs and self._jobs[0][0] <= time.monotonic():
            found.append(self._jobs.popleft()[1])
        return found
