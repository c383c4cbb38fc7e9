"""One of several processes of a run, started by launch.py: not a command for users."""

import os
import signal
import stat
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from anima_exp.errors import AnimaError, InUse, LostContact, Paused
from anima_exp.launch import IN_USE, LOST, PAUSED, read
from anima_exp.signals import FROM_CLUSTER
from anima_exp.terminal import take_any_letter, tell


def main(settings: str, until: str) -> int:
    take_any_letter()
    leads = os.environ["RANK"] == "0"

    def stopped(number: int, _: Any) -> NoReturn:
        # Not sys.exit: libraries swallow or rename what is raised while they are imported.
        if leads:
            with suppress(OSError):  # of a terminal that is gone
                tell("stopped; the same command goes on.")
        os._exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, *FROM_CLUSTER):
        signal.signal(number, stopped)  # training/stop.py takes over during the steps
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from anima_exp.experiment import run

    try:
        run(read(Path(settings)), until=int(until) or None)
    except AnimaError as error:
        # A pause is the parent's wish, and of a lost process it can tell how it ended.
        if not error.told and not isinstance(error, Paused | LostContact):
            tell(str(error))
        return {Paused: PAUSED, InUse: IN_USE, LostContact: LOST}.get(
            type(error), error.exit_status
        )
    return 0


def _end_with_parent() -> None:
    """Stop with a checkpoint when the parent is gone: its end of the pipe closes with it."""
    os.read(0, 1)  # not sys.stdin, whose lock a thread must not hold when Python ends
    with open(os.devnull, "w") as nothing:
        for output in (1, 2):
            if not stat.S_ISREG(os.fstat(output).st_mode):  # a terminal or pipe may be gone too
                os.dup2(nothing.fileno(), output)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
