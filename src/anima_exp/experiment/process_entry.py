"""Entry point of one rank. `process_launcher.py` starts it; it is not a command for users."""

import os
import signal
import sys
import threading
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from anima_exp.errors import AnimaError, InUseError, PeerLostError, RunEnded, RunPaused
from anima_exp.events import Event, listening, warn
from anima_exp.experiment.process_launcher import IN_USE, LOST, PAUSED, read
from anima_exp.system.child_process import end_with_parent
from anima_exp.system.hardware import keep_freed_memory
from anima_exp.system.signals import SCHEDULER_SIGNALS, stop_on_signals
from anima_exp.system.terminal import take_any_letter


class ToParent:
    """A listener that sends every event to the process that started this one.

    Args:
        pipe: the file number of its end.
    """

    def __init__(self, pipe: int) -> None:
        os.set_inheritable(pipe, False)
        self._pipe: Any = Connection(pipe, readable=False)
        self._waiting: deque[Event] = deque()
        self._lock = threading.RLock()
        self._sending = False

    def __call__(self, event: Event) -> None:
        self._waiting.append(event)
        with self._lock:
            if self._sending:  # a signal came meanwhile, and its handler emits
                return
            self._sending = True
            try:
                while self._waiting:
                    with suppress(OSError):  # the parent is gone, which ends this process in order
                        self._pipe.send(self._waiting.popleft())
            finally:
                self._sending = False


def main(settings: str, until: str, pipe: str) -> int:
    take_any_letter()
    with listening(ToParent(int(pipe))):
        return work(Path(settings), int(until) or None)


def work(settings: Path, until: int | None) -> int:
    """Do this process's part of the run; return its exit status."""
    leads = os.environ["RANK"] == "0"

    def stopped(number: int, _: object) -> NoReturn:
        # Not sys.exit: libraries swallow or rename what is raised while they are imported.
        if leads:
            warn("interrupted. Run the same command again to resume.")
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, *SCHEDULER_SIGNALS):
        signal.signal(number, stopped)  # stop_on_signals takes over during the steps
    # The parent's end of the pipe closes with it. Not sys.stdin, whose lock a thread must not hold
    # when Python ends.
    end_with_parent(lambda: os.read(0, 1))
    keep_freed_memory()
    from anima_exp.experiment.run import run

    try:
        with stop_on_signals() as stop:
            run(read(settings), until=until, stop=stop)
    except (AnimaError, RunEnded) as error:
        # A pause is the parent's wish, and of a lost process it can tell how it ended.
        if not error.told and not isinstance(error, RunPaused | PeerLostError):
            warn(str(error))
        return {RunPaused: PAUSED, InUseError: IN_USE, PeerLostError: LOST}.get(
            type(error), error.exit_status
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
