"""Signals that come before a job's time is over, and who handles them."""

import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# What a cluster's launcher listens to: Slurm sends USR1 or USR2. Windows has neither.
FROM_CLUSTER = tuple(n for n in signal.Signals if n.name in ("SIGUSR1", "SIGUSR2"))

# A scheduler signals every process of a job, and those that started others pass it on: what comes
# again so soon is the same wish, and no second one.
SAME_WISH_SECONDS = 2.0

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
