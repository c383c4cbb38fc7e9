"""What the sweep asks of a child process, and how that ended."""

from dataclasses import dataclass
from enum import Enum

from anima_exp.child_process import Exit
from anima_exp.sweep.cell import Cell

# In the environment of the process that jobs are forked from, while it starts: `cpu` or `gpu`.
WARM_FOR = "ANIMA_EXP_WARM_FOR"


@dataclass(frozen=True)
class Job:
    """Run `cell`, to its end or to step `until`."""

    cell: Cell
    until: int | None = None


class Outcome(Enum):
    """How a job ended; the value is the exit status that says so, if one does."""

    done = Exit.done
    failed = Exit.failed
    paused = Exit.paused
    in_use = Exit.in_use
    no_slot = Exit.no_slot
    bad_fork = Exit.bad_fork
    stopped = Exit.stopped
    given_up = "given up"  # stopped, because the schedule thought it hopeless
    server_gone = "server gone"  # the process it is forked from was ended, before the job began
