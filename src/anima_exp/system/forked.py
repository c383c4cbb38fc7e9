"""Apply a function in forked processes, which share the memory of the process that forks."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from anima_exp.errors import DataError

_MOST_WORKERS = 16

Item = TypeVar("Item")
Result = TypeVar("Result")

_function: Callable[[Any], Any] | None = None  # in a forked process: that of its pool


def workers() -> int:
    """Return how many processes are worth starting here: 1 if they cannot be forked."""
    if "fork" not in multiprocessing.get_all_start_methods():
        return 1
    return min(len(os.sched_getaffinity(0)), _MOST_WORKERS)


def map_forked(
    function: Callable[[Item], Result], items: Iterable[Item], *, processes: int
) -> Iterator[Result]:
    """Yield the result of each item, in order. Items are read as they are needed.

    The function need not be picklable, because a forked process has it already. Its results are
    pickled in memory. An error of it is raised here.
    """
    fork = multiprocessing.get_context("fork")
    waiting: deque[Future[Result]] = deque()
    with ProcessPoolExecutor(
        processes, mp_context=fork, initializer=_begin, initargs=(function,)
    ) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(_call, item))
                if len(waiting) > 3 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise DataError(
                "A process that prepares the data was ended, probably because memory ran out. "
                "Start the command again with fewer cores, for example: taskset -c 0 COMMAND."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _begin(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    # Ctrl-C reaches every process of a terminal. The one that reads the results ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The threads of a tokenizer do not survive a fork, and every core has a process already.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def _call(item: Any) -> Any:
    assert _function is not None
    return _function(item)
