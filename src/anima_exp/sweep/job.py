"""What the sweep asks of a child process, and how that ended."""

from dataclasses import dataclass
from enum import Enum

from anima_exp.sweep.cell import Cell

# In the environment of the process that jobs are forked from, while it starts: `cpu` or `gpu`.
WARM_FOR = "ANIMA_EXP_WARM_FOR"


@dataclass(frozen=True)
class Job:
    """Run `cell`, to its end or to step `until`."""

    cell: Cell
    until: int | None = None


class Outcome(Enum):
    """The value is the exit status that tells it, where one does."""

    done = 0
    failed = 1  # and any other status
    paused = 70  # reached `until`
    in_use = 71  # another process runs this cell
    no_slot = 72  # another sweep took the GPU first
    bad_fork = 74  # the warm process has initialised CUDA, which a fork of it cannot use
    stopped = 73  # Ctrl-C, SIGTERM: a checkpoint was written if there was anything to save
    given_up = 75  # the same, because the schedule thought it hopeless; no exit status
