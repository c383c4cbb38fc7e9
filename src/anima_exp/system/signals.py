"""Turn signals into a request to stop a run, which saves a checkpoint first.

Only commands set signal handlers. A run polls a `StopRequest`, which another thread may also use:

    stop = StopRequest()
    threading.Timer(3600, stop.request).start()
    run(config, stop=stop)        # raises RunInterrupted after an hour; run(config) resumes

A command, or a notebook in which Ctrl-C should save a checkpoint, uses `stop_on_signals`.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from anima_exp.errors import RunInterrupted

if TYPE_CHECKING:
    from types import FrameType

# A scheduler may signal every process of a job, and parents forward signals to their children. A
# second signal within this time is treated as a duplicate, not as a second request to stop.
DUPLICATE_SIGNAL_SECONDS = 2.0

ON_REQUEST = -1  # in place of a signal's number: a program requested it

Heard = Callable[[int], None]


class StopRequest:
    """Requested once, it stays so: each run that has it stops as soon as it can resume later."""

    def __init__(self) -> None:
        self.came: list[tuple[float, int]] = []  # when, and the signal's number or ON_REQUEST
        self._watchers: list[tuple[int, Heard, bool]] = []  # thread, callback, passes every signal
        self._unserved: Heard = lambda number: None

    def request(self, number: int = ON_REQUEST) -> None:
        """Ask for a stop; any thread may."""
        self.came.append((time.monotonic(), number))
        here = threading.get_ident()
        for thread, heard, passes_on in [*self._watchers]:
            if passes_on or (thread == here and len(self.came) == 1):
                heard(number)

    @property
    def number(self) -> int:
        """Of the signal that came first; ON_REQUEST; or 0 if nothing has requested a stop."""
        return self.came[0][1] if self.came else 0

    @property
    def insists(self) -> bool:
        """Whether it was requested again, by a second wish."""
        return bool(self.came) and self.came[-1][0] - self.came[0][0] > DUPLICATE_SIGNAL_SECONDS

    @property
    def watched(self) -> bool:
        """Whether a run is in a part that it can stop in, and resume from."""
        return bool(self._watchers)

    @property
    def passed_on(self) -> bool:
        """Whether all requests go to other processes, which end at once by themselves."""
        return any(passes_on for _, _, passes_on in self._watchers)

    @contextmanager
    def watch(self, heard: Heard, *, passes_on: bool = False) -> Iterator[None]:
        """Inside, this thread stops when it is requested.

        Args:
            heard: called with the first request, in this thread and as it comes; a request of
                another thread is for who polls `number`.
            passes_on: `heard` is called with every request, in whatever thread.
        """
        watcher = (threading.get_ident(), heard, passes_on)
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    def unserved(self) -> None:
        """Say that a request came too late for a stop: who set the signal handlers decides."""
        if self.number:
            self._unserved(self.number)

    def on_unserved(self, decide: Heard) -> None:
        self._unserved = decide

    def check(self, what: str) -> None:
        """Raise Stopped if it is requested, between two parts of the work that lose nothing."""
        if self.number:
            raise stopped(self.number, what)


def stopped(number: int, what: str) -> RunInterrupted:
    """Return the exception of a run that `number` has stopped; `what` says where it stands."""
    by = "on request" if number == ON_REQUEST else f"by {name(number)}"
    return RunInterrupted(f"Stopped {by} {what}", exit_status=exit_status(number))


def exit_status(number: int) -> int:
    return 128 + (signal.SIGTERM if number == ON_REQUEST else number)


def name(number: int) -> str:
    return "Stop requested" if number == ON_REQUEST else signal.Signals(number).name


# What a cluster's launcher listens to: Slurm sends USR1 or USR2. Windows has neither.
SCHEDULER_SIGNALS = tuple(n for n in signal.Signals if n.name in ("SIGUSR1", "SIGUSR2"))

Handlers = Mapping[int, Any]


def in_main_thread() -> bool:
    """Whether this thread may set signal handlers: Python allows it in the main thread alone."""
    return threading.current_thread() is threading.main_thread()


def handle(numbers: Iterable[int], handler: Callable[[int, Any], Any]) -> Handlers:
    """Let `handler` handle these signals; return the handlers before, for `give_back`.

    In any other thread than the main one nothing changes: a notebook or a server that runs us in a
    thread of its own handles signals itself.
    """
    if not in_main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in numbers}


def give_back(before: Handlers) -> None:
    """Set the handlers that `handle` has replaced."""
    for number, handler in before.items():
        if handler is not None:  # it was not set from Python, which cannot set it again
            signal.signal(number, handler)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn Ctrl-C, SIGTERM and a cluster's signals into a request to stop, where a run can stop.

        with stop_on_signals() as stop:
            run(config, stop=stop)

    While the run trains, the first one lets it save a checkpoint and a second one ends the process
    at once. At any other time a signal does what it did before. So does USR1 or USR2 if nothing
    handled it before, unless the run is computed by other processes, which get every signal.

    In any other thread than the main one nothing is handled.
    """
    stop = StopRequest()
    before: dict[int, Any] = {}

    def on_signal(number: int, frame: "FrameType | None") -> None:
        unasked = number in SCHEDULER_SIGNALS and not callable(before[number])
        if not stop.watched or (unasked and not stop.passed_on):
            _as_before(before[number], number, frame)
            return
        stop.request(number)
        if stop.insists and not stop.passed_on:
            sys.exit(128 + number)

    stop.on_unserved(lambda number: signal.raise_signal(number) if number > 0 else None)
    numbers = (signal.SIGINT, signal.SIGTERM, *SCHEDULER_SIGNALS)
    before |= {number: signal.getsignal(number) for number in numbers}
    handled = handle(numbers, on_signal)
    try:
        yield stop
    finally:
        give_back(handled)


def _as_before(handler: Any, number: int, frame: "FrameType | None") -> None:
    if callable(handler):
        handler(number, frame)
    elif handler is signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
