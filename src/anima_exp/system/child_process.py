"""Define the exit statuses of child processes, and stop a child whose parent has died.

Two modules start child processes: `experiment/process_launcher.py` starts one for each GPU of a
run, and `sweeping/pool.py` one for each job of a sweep. An exit status means the same in both.
"""

import os
import signal
import stat
import threading
from collections.abc import Callable
from enum import IntEnum, unique


@unique
class Exit(IntEnum):
    """Exit statuses of a child process, besides 128 + the number of the signal that stopped it."""

    done = 0
    failed = 1  # and any status that is not listed here
    paused = 70  # it reached the step at which it was to pause
    in_use = 71  # another process works on the same run
    lost = 72  # another process of the same run has died
    stopped = 73  # a job of a sweep: Ctrl-C or SIGTERM; it saved a checkpoint if it could
    cuda_initialized = 74  # a job of a sweep: the process it was forked from has initialized CUDA
    gpu_taken = 75  # a job of a sweep: another sweep took the GPU first


def end_with_parent(wait: Callable[[], object]) -> None:
    """Stop this process when its parent dies, with a checkpoint if it is training.

    Args:
        wait: blocks as long as the parent lives. A separate thread calls it.
    """

    def watch() -> None:
        wait()
        with open(os.devnull, "w") as nothing:
            for output in (1, 2):
                if not stat.S_ISREG(os.fstat(output).st_mode):  # a terminal or pipe may be closed
                    os.dup2(nothing.fileno(), output)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
