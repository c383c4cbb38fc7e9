"""Run jobs in child processes: start each when a slot is free, monitor it, collect its outcome."""

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from anima_exp.libraries.multiprocessing_internals import helpers_ended, main_not_imported
from anima_exp.results.folder import FAILURE
from anima_exp.sweeping import job_process
from anima_exp.sweeping.cell import Cell, Job, Outcome, State
from anima_exp.sweeping.gpu_leases import Allocation, Slot, free_place
from anima_exp.sweeping.live_table import Board, Progress
from anima_exp.sweeping.processes import end, environment, variables
from anima_exp.system.atomic import atomic_write_text
from anima_exp.system.signals import give_back, handle

PRELOAD = ["anima_exp.sweeping.preload"]  # imported by the fork server
_SERVER_GONE = 255  # multiprocessing's exit code of a child whose fork server is gone
_SERVER_ENDS_SECONDS = 1.0
_TRIES_WITHOUT_SERVER = 1  # restarts of a job whose fork server died before the job started
_LOOK_SECONDS = 0.2  # interval at which jobs, slots and signals are checked
_SLOT_TAKEN_SECONDS = 5.0  # wait before a slot in use by another sweep is checked again


class Schedule(Protocol):
    """Decide which job comes next. The pool calls these methods."""

    def next(self) -> Job | None:
        """Return a job to start now; None if there is none, or none before another job ends."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Take the outcome of a job. Called once for every job that `next` returned."""

    def should_prune(self, job: Job, rows: list[dict[str, Any]]) -> bool:
        """Return whether to stop a running job, after it has logged `rows`."""

    @property
    def waiting(self) -> bool:
        """Whether `next` has a job, or may have one later although none runs now."""

    def stopped(self) -> dict[str, dict[str, Any]]:
        """Return where and why cells were pruned, by name."""

    def reached(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rungs that each cell has reached, by name: rung (from 1), step, value."""


@dataclass
class _Running:
    job: Job
    place: Allocation
    process: BaseProcess
    progress: Progress
    stopping: bool = False
    pruned: bool = False


@dataclass
class Pool:
    """Run the jobs of a schedule until there are none, or until a signal stops the sweep.

    After the first Ctrl-C or SIGTERM every job saves a checkpoint; the second kills the jobs.
    """

    slots: list[Slot]
    of_a_job: int  # slots that one job takes
    at_once: int
    warm: bool
    board: Board
    work: job_process.Work  # what a job does, in its process
    first_line: Callable[[Cell], str] = lambda cell: ""
    signals: list[int] = field(default_factory=list)  # received
    _context: Any = None
    _running: list[_Running] = field(default_factory=list)
    _taken: dict[str, float] = field(default_factory=dict)  # slot -> until when
    _without_server: Counter[str] = field(default_factory=Counter)  # by name of a cell

    def run(self, schedule: Schedule, *, signals: bool = True) -> None:
        """Run all jobs of `schedule`.

        Args:
            signals: handle Ctrl-C and SIGTERM. Without it, Ctrl-C is a KeyboardInterrupt, which
                leaves when every job has saved a checkpoint.
        """
        before = handle((signal.SIGINT, signal.SIGTERM), self._on_signal) if signals else {}
        self._context = _context(warm=self.warm)
        try:
            with helpers_ended(), self.board:
                try:
                    while self._running or (schedule.waiting and not self.signals):
                        self._reap(schedule)
                        if not self.signals:
                            self._start(schedule)
                        self._look(schedule)
                finally:  # none runs but after an interrupt, or a bug of ours
                    end([running.process for running in self._running])
        finally:
            give_back(before)

    def _start(self, schedule: Schedule) -> None:
        while len(self._running) < self.at_once:
            job = schedule.next()
            if job is None:
                return
            self.board.add(job.cell)
            if elsewhere := _elsewhere(job.cell):
                schedule.ended(job, elsewhere)
                self.board.ended(job, elsewhere, Progress.whole(job.cell))
            elif place := self._free_place():
                self._spawn(job, place, schedule)
            else:
                schedule.ended(job, Outcome.gpu_taken)
                return

    def _spawn(self, job: Job, place: Allocation, schedule: Schedule) -> None:
        cell = job.cell
        (cell.folder / FAILURE).unlink(missing_ok=True)  # what it says from here on is news
        process = self._context.Process(
            target=job_process.main,
            args=(self.work, cell.config, job.until, place, cell.log, self.first_line(cell)),
        )
        server = self._context.get_start_method() == "forkserver"
        try:
            with environment(variables(self.slots[0], server=server)), main_not_imported():
                process.start()  # and with the first one the server
        except (OSError, EOFError):  # of a server that was ended a moment ago
            if not server:
                raise
            outcome = self._server_gone(job)
            schedule.ended(job, outcome)
            self.board.ended(job, outcome, Progress(cell))
            return
        self._running.append(_Running(job, place, process, Progress(cell)))
        self.board.started(job, place)

    def _server_gone(self, job: Job) -> Outcome:
        """Restart a job once whose fork server died while the job was starting."""
        cell = job.cell
        time.sleep(
            _SERVER_ENDS_SECONDS
        )  # a start before the old server has closed its socket would fail too
        self._without_server[cell.name] += 1
        if self._without_server[cell.name] <= _TRIES_WITHOUT_SERVER:
            return Outcome.server_gone
        _write_failure(
            cell,
            "the process that starts jobs was killed twice while this job was starting, probably "
            "because memory ran out. launcher.preload=false starts jobs without that process",
        )
        return Outcome.failed

    def _free_place(self) -> Allocation | None:
        used = {slot.name for running in self._running for slot in running.place.slots}
        now = time.monotonic()
        left = (s for s in self.slots if s.name not in used and self._taken.get(s.name, 0) <= now)
        found, taken = free_place(left, self.of_a_job)
        self._leave_alone(taken)
        return found

    def _leave_alone(self, slots: Iterable[Slot]) -> None:
        until = time.monotonic() + _SLOT_TAKEN_SECONDS
        self._taken |= {slot.name: until for slot in slots}

    def _reap(self, schedule: Schedule) -> None:
        connection.wait([r.process.sentinel for r in self._running], timeout=_LOOK_SECONDS)
        if not self._running:
            time.sleep(_LOOK_SECONDS)
        for running in [r for r in self._running if r.process.exitcode is not None]:
            self._running.remove(running)
            running.progress.read()
            running.stopping |= bool(self.signals)
            outcome = _outcome(running)
            if outcome is Outcome.server_gone:
                outcome = self._server_gone(running.job)
            if outcome is Outcome.gpu_taken:
                self._leave_alone(running.place.slots)
            elif outcome is Outcome.cuda_initialized and self.warm:
                self.warm = False
                self._context = _context(warm=False)
                self.board.say(
                    "A library initialized CUDA before the jobs were forked. From now on each job "
                    "imports its own libraries, as with launcher.preload=false."
                )
            schedule.ended(running.job, outcome)
            self.board.ended(running.job, outcome, running.progress)
            running.process.close()

    def _look(self, schedule: Schedule) -> None:
        for running in self._running:
            rows = running.progress.read()
            if rows and not running.stopping:
                running.pruned = schedule.should_prune(running.job, rows)
            stop = bool(self.signals) or running.pruned
            if stop and not running.stopping:
                running.stopping = True
                running.process.terminate()
        self.board.show({r.job.cell.name: r.progress for r in self._running})

    def _on_signal(self, number: int, _: object) -> None:
        self.signals.append(number)
        if len(self.signals) > 1:
            for running in self._running:
                running.process.kill()
            os._exit(128 + number)
        self.board.stopping(signal.Signals(number).name)


def _context(*, warm: bool) -> Any:
    """Return the multiprocessing context: a fork server with all imports, or plain spawning."""
    if not warm or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def _elsewhere(cell: Cell) -> Outcome | None:
    """Return the outcome of a cell that another process has done or is running, else None."""
    if cell.state is State.done:
        return Outcome.done
    return Outcome.in_use if cell.busy else None


def _outcome(running: _Running) -> Outcome:
    """Return how a job ended. A record in its folder counts more than its exit status."""
    cell, status = running.job.cell, running.process.exitcode
    if cell.state is State.done:
        return Outcome.done
    if running.pruned:
        return Outcome.pruned
    if running.stopping:
        return Outcome.stopped
    if status == _SERVER_GONE:
        if cell.busy:  # the server died, but the job that it forked still runs
            return Outcome.in_use
        if cell.state is not State.failed:
            return Outcome.server_gone
    known = {outcome.value: outcome for outcome in Outcome}
    outcome = known.get(status or 0, Outcome.failed)
    if outcome in (Outcome.done, Outcome.stopped):  # no stop was requested, and no record exists
        outcome = Outcome.failed
    if outcome is Outcome.failed:
        _say_why(cell, status)
    return outcome


def _say_why(cell: Cell, status: int | None) -> None:
    """Write failure.txt for a process that could not."""
    reason = _last_words(cell) or f"the process exited with status {status}"
    if status is not None and status < 0:
        name = signal.Signals(-status).name
        reason = f"the process was killed by {name}"
        if name == "SIGKILL":
            reason += ", probably because memory ran out"
    _write_failure(cell, reason)


def _write_failure(cell: Cell, reason: str) -> None:
    if not (cell.folder / FAILURE).exists():
        cell.folder.mkdir(parents=True, exist_ok=True)
        atomic_write_text(cell.folder / FAILURE, reason + "\n")


def _last_words(cell: Cell) -> str:
    try:
        lines = cell.log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    last = lines[-1] if lines else ""
    return last.removeprefix("anima_exp: ") if last.startswith("anima_exp: ") else ""
