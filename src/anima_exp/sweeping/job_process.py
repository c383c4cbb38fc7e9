"""Run one job in a child process: lease its slot, write its log, report how it ended."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any, NoReturn

from filelock import Timeout

from anima_exp.config import RunConfig
from anima_exp.display.terminal_view import TerminalView
from anima_exp.errors import AnimaError, InUseError, RunEnded, RunInterrupted, RunPaused
from anima_exp.events import listening
from anima_exp.libraries.torch_internals import lost_gpu_in_fork
from anima_exp.sweeping.cell import Outcome
from anima_exp.sweeping.gpu_leases import Allocation
from anima_exp.system.child_process import end_with_parent
from anima_exp.system.hardware import keep_freed_memory
from anima_exp.system.signals import stop_on_signals
from anima_exp.system.terminal import escape_unencodable, write

Work = Callable[[RunConfig, int | None], Any]


def train(config: RunConfig, until: int | None) -> None:
    """Train one cell in this process."""
    keep_freed_memory()
    from anima_exp.experiment.run import run

    with listening(TerminalView()), stop_on_signals() as stop:
        run(config, until=until, stop=stop)


def main(
    work: Work, config: RunConfig, until: int | None, place: Allocation, log: Path, first_line: str
) -> None:
    """Run one job and exit with the status of its Outcome."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C in the terminal reaches only the sweep, which forwards it once
    signal.signal(signal.SIGTERM, _stopped)  # stop_on_signals takes over during the steps
    if parent := parent_process():  # without the sweep, no process would collect the result
        end_with_parent(partial(connection.wait, [parent.sentinel]))
    try:
        leases = place.take()
    except Timeout:
        _leave(Outcome.gpu_taken)
    if _forked_too_late():
        _leave(Outcome.cuda_initialized)
    _use(place)
    _write_to(log)
    write(f"{first_line}\n")
    outcome = _outcome(work, config, until)
    assert all(lease.is_locked for lease in leases)
    _leave(outcome)  # the exit releases the leases together with the memory on the GPU


def _outcome(work: Work, config: RunConfig, until: int | None) -> Outcome:
    try:
        work(config, until)
    except RunPaused:
        return Outcome.paused
    except InUseError:
        return Outcome.in_use
    except (RunInterrupted, KeyboardInterrupt) as error:
        write(f"anima_exp: {error}\n")
        return Outcome.stopped
    except SystemExit:
        return Outcome.stopped
    except (AnimaError, RunEnded) as error:
        if not error.reported:  # else another process of the run has written it to the same log
            write(f"anima_exp: {error}\n")
        return Outcome.failed
    except Exception:  # a bug, whose traceback belongs in the log
        traceback.print_exc()
        return Outcome.failed
    return Outcome.done


def _forked_too_late() -> bool:
    return "torch" in sys.modules and lost_gpu_in_fork()


def _use(place: Allocation) -> None:
    if place.gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = place.gpus
    if place.threads is None:  # the user has chosen a number in the environment
        return
    os.environ["OMP_NUM_THREADS"] = str(place.threads)  # for child processes of this one
    if torch := sys.modules.get("torch"):  # a forked process has read the variable already
        torch.set_num_threads(place.threads)


def _write_to(log: Path) -> None:
    """Append everything that this process and its libraries print to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    escape_unencodable(
        "utf-8"
    )  # independent of the terminal's encoding, because the sweep reads the log


def _stopped(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _leave(outcome: Outcome) -> NoReturn:
    # Not sys.exit, because the exit handlers of a library could change the status.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(outcome.value)
