"""Signals that come before a job's time is over, and who handles them: the commands alone."""

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from anima_exp.stop_request import SAME_WISH_SECONDS as SAME_WISH_SECONDS
from anima_exp.stop_request import StopRequest

# What a cluster's launcher listens to: Slurm sends USR1 or USR2. Windows has neither.
FROM_CLUSTER = tuple(n for n in signal.Signals if n.name in ("SIGUSR1", "SIGUSR2"))

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

    def on_signal(number: int, frame: Any) -> None:
        unasked = number in FROM_CLUSTER and not callable(before[number])
        if not stop.watched or (unasked and not stop.passed_on):
            _as_before(before[number], number, frame)
            return
        stop.request(number)
        if stop.insists and not stop.passed_on:
            sys.exit(128 + number)

    stop.on_unserved(lambda number: signal.raise_signal(number) if number > 0 else None)
    numbers = (signal.SIGINT, signal.SIGTERM, *FROM_CLUSTER)
    before |= {number: signal.getsignal(number) for number in numbers}
    handled = handle(numbers, on_signal)
    try:
        yield stop
    finally:
        give_back(handled)


def _as_before(handler: Any, number: int, frame: Any) -> None:
    if callable(handler):
        handler(number, frame)
    elif handler is signal.SIG_DFL:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
