"""Run one rank. `process_launcher.py` starts this module; it is not a command for users."""

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
from anima_exp.system.terminal import escape_unencodable, outlive_readers


class ToParent:
    """A listener that sends every event to the parent process.

    Args:
        pipe: the file descriptor of this end of the pipe.
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
            if self._sending:  # called by a signal handler while an event is being sent
                return
            self._sending = True
            try:
                while self._waiting:
                    with suppress(OSError):  # the parent has died, so this process will end too
                        self._pipe.send(self._waiting.popleft())
            finally:
                self._sending = False


def main(settings: str, until: str, pipe: str) -> int:
    """Run one rank, send its events to the parent, and return the exit status."""
    outlive_readers()
    escape_unencodable()
    with listening(ToParent(int(pipe))):
        return work(Path(settings), int(until) or None)


def work(settings: Path, until: int | None) -> int:
    """Do this process's part of the run, and return its exit status."""
    is_main = os.environ["RANK"] == "0"

    def stopped(number: int, _: object) -> NoReturn:
        # Not sys.exit, because libraries may catch the exception while they are imported.
        if is_main:
            warn("interrupted. Run the same command again to resume.")
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, *SCHEDULER_SIGNALS):
        signal.signal(number, stopped)  # stop_on_signals takes over during the steps
    # The pipe closes when the parent dies. os.read and not sys.stdin, because a thread must not
    # hold the lock of sys.stdin when Python exits.
    end_with_parent(lambda: os.read(0, 1))
    keep_freed_memory()
    from anima_exp.experiment.run import run

    try:
        with stop_on_signals() as stop:
            run(read(settings), until=until, stop=stop)
    except (AnimaError, RunEnded) as error:
        # The parent requested a pause itself, and reports how a lost process ended.
        if not error.reported and not isinstance(error, RunPaused | PeerLostError):
            warn(str(error))
        return {RunPaused: PAUSED, InUseError: IN_USE, PeerLostError: LOST}.get(
            type(error), error.exit_status
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
