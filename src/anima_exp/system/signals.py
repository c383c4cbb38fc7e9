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

Callback = Callable[[int], None]


class StopRequest:
    """A request to stop. Every run that has it stops as soon as it can be resumed later."""

    def __init__(self) -> None:
        self.received: list[tuple[float, int]] = []  # time, and signal number or ON_REQUEST
        self._watchers: list[tuple[int, Callback, bool]] = []  # thread, callback, all requests?
        self._unserved: Callback = lambda number: None

    def request(self, number: int = ON_REQUEST) -> None:
        """Request a stop, from any thread."""
        self.received.append((time.monotonic(), number))
        here = threading.get_ident()
        for thread, callback, passes_on in [*self._watchers]:
            if passes_on or (thread == here and len(self.received) == 1):
                callback(number)

    @property
    def number(self) -> int:
        """The number of the first signal; ON_REQUEST; or 0 if no stop was requested."""
        return self.received[0][1] if self.received else 0

    @property
    def insists(self) -> bool:
        """Whether a stop was requested a second time, not counting duplicate signals."""
        if not self.received:
            return False
        return self.received[-1][0] - self.received[0][0] > DUPLICATE_SIGNAL_SECONDS

    @property
    def watched(self) -> bool:
        """Whether a run is in a part of its work in which it can stop with a checkpoint."""
        return bool(self._watchers)

    @property
    def passed_on(self) -> bool:
        """Whether all requests are forwarded to other processes, which handle them."""
        return any(passes_on for _, _, passes_on in self._watchers)

    @contextmanager
    def watch(self, callback: Callback, *, passes_on: bool = False) -> Iterator[None]:
        """Mark a part of the work in which this thread reacts to a request to stop.

        Args:
            callback: called with the first request if it comes from this thread. Requests of other
                threads are noticed by polling `number`.
            passes_on: call `callback` with every request, in the thread that makes it.
        """
        watcher = (threading.get_ident(), callback, passes_on)
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    def unserved(self) -> None:
        """Report that a request came too late. The function of `on_unserved` decides what to do."""
        if self.number:
            self._unserved(self.number)

    def on_unserved(self, decide: Callback) -> None:
        """Set the function that is called with a request that came too late."""
        self._unserved = decide

    def check(self, what: str) -> None:
        """Raise RunInterrupted if a stop was requested. Call it where nothing would be lost."""
        if self.number:
            raise stopped(self.number, what)


def stopped(number: int, what: str) -> RunInterrupted:
    """Return the exception of a run that was stopped. `what` describes how far it got."""
    by = "on request" if number == ON_REQUEST else f"by {name(number)}"
    return RunInterrupted(f"Stopped {by} {what}", exit_status=exit_status(number))


def exit_status(number: int) -> int:
    """Return the exit status of a process that a signal or a request has stopped."""
    return 128 + (signal.SIGTERM if number == ON_REQUEST else number)


def name(number: int) -> str:
    """Return the name of a signal, or `Stop requested`."""
    return "Stop requested" if number == ON_REQUEST else signal.Signals(number).name


# The signals of a cluster's scheduler: Slurm sends USR1 or USR2. Windows has neither.
SCHEDULER_SIGNALS = tuple(n for n in signal.Signals if n.name in ("SIGUSR1", "SIGUSR2"))

Handlers = Mapping[int, Any]


def in_main_thread() -> bool:
    """Return whether this thread may set signal handlers, which only the main thread may."""
    return threading.current_thread() is threading.main_thread()


def handle(numbers: Iterable[int], handler: Callable[[int, Any], Any]) -> Handlers:
    """Set the handler of these signals, and return the earlier handlers for `give_back`.

    Outside the main thread nothing changes: a notebook or server that runs this package in another
    thread handles signals itself.
    """
    if not in_main_thread():
        return {}
    return {number: signal.signal(number, handler) for number in numbers}


def give_back(before: Handlers) -> None:
    """Restore the handlers that `handle` has replaced."""
    for number, handler in before.items():
        if handler is not None:  # None: not set from Python, which cannot restore it
            signal.signal(number, handler)


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn Ctrl-C, SIGTERM and a scheduler's signals into a request to stop.

        with stop_on_signals() as stop:
            run(config, stop=stop)

    While the run trains, the first signal lets it save a checkpoint, and a second one ends the
    process at once. At other times a signal has its earlier effect. USR1 and USR2 always have their
    earlier effect if no handler was set for them, unless other processes compute the run, which
    receive every signal.

    Outside the main thread no handler is set.
    """
    stop = StopRequest()
    before: dict[int, Any] = {}

    def on_signal(number: int, frame: "FrameType | None") -> None:
        unhandled = number in SCHEDULER_SIGNALS and not callable(before[number])
        if not stop.watched or (unhandled and not stop.passed_on):
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


def _as_before(handler: object, number: int, frame: "FrameType | None") -> None:
    if callable(handler):
        handler(number, frame)
    elif handler is signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
