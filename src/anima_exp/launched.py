"""One of several processes of a run, started by launch.py: not a command for users."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from anima_exp.child_process import end_with_parent
from anima_exp.errors import AnimaError, InUse, LostContact, Paused, RunEnded
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
    # The parent's end of the pipe closes with it. Not sys.stdin, whose lock a thread must not hold
    # when Python ends.
    end_with_parent(lambda: os.read(0, 1))
    from anima_exp.experiment import run

    try:
        run(read(Path(settings)), until=int(until) or None)
    except (AnimaError, RunEnded) as error:
        # A pause is the parent's wish, and of a lost process it can tell how it ended.
        if not error.told and not isinstance(error, Paused | LostContact):
            tell(str(error))
        return {Paused: PAUSED, InUse: IN_USE, LostContact: LOST}.get(
            type(error), error.exit_status
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
