"""Run one config in several processes of this machine, one for each GPU, and collect the outcome.

torchrun does this too, also across machines. This module needs no second command line.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf

from anima_exp.config import RunConfig
from anima_exp.distributed.environment import without_launcher
from anima_exp.errors import AnimaError, InUseError, PeerLostError, RunInterrupted, RunPaused
from anima_exp.events import emit
from anima_exp.results.folder import FAILURE, run_folder
from anima_exp.results.record import Record
from anima_exp.system.child_process import Exit
from anima_exp.system.hardware import cores, threads_are_chosen
from anima_exp.system.signals import ON_REQUEST, StopRequest, exit_status

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PAUSED, IN_USE, LOST = Exit.paused, Exit.in_use, Exit.lost
_GRACE_SECONDS = 60  # for the others to end after one has died or the user has stopped twice
_POLL_SECONDS = 0.1


def launch(config: RunConfig, processes: int, *, until: int | None, stop: StopRequest) -> Record:
    """Run `config` in several processes of this machine; see experiment/run.py.

    Events of the processes are emitted here, and a request to stop is forwarded to them.

    Raises:
        RunEnded: if the run was stopped or paused, or a process was killed.
        AnimaError: if the run failed. One of the processes has emitted why.
    """
    with tempfile.TemporaryDirectory() as scratch:
        settings = Path(scratch) / "config.yaml"
        OmegaConf.save(OmegaConf.structured(config), settings)
        started = [
            _start(settings, until, rank, processes, port)
            for port in [_free_port()]
            for rank in range(processes)
        ]
        try:
            with stop.watch(partial(_forward_signal, started), passes_on=True):
                if stop.number:  # requested before the processes started
                    _forward_signal(started, stop.number)
                statuses = _wait(started, stop)
        finally:
            _end(started)
    return _outcome(config, statuses, stop_number=stop.number)


def read(settings: Path) -> RunConfig:
    """Return the config that `launch` wrote to a file."""
    config = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(RunConfig), OmegaConf.load(settings))
    )
    assert isinstance(config, RunConfig)
    return config


@dataclass(frozen=True)
class _Rank:
    process: "subprocess.Popen[bytes]"
    events: "Connection"

    def forward_events(self) -> None:
        """Emit the events that the process has sent."""
        while True:
            try:
                if not self.events.poll():
                    return
                event = self.events.recv()
            except (EOFError, OSError):  # the process has ended
                return
            emit(event)


def _start(settings: Path, until: int | None, rank: int, processes: int, port: int) -> _Rank:
    rank_variables = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip
    here, there = Pipe(duplex=False)
    process = subprocess.Popen(
        [
            sys.executable, "-m", "anima_exp.experiment.process_entry",
            str(settings), str(until or 0), str(there.fileno()),
        ],
        env={
            **_threads(processes),
            **without_launcher(os.environ),
            **{key: str(value) for key, value in rank_variables.items()},
        },
        stdin=subprocess.PIPE,  # closes when this process dies, which stops the child
        pass_fds=[there.fileno()],
        process_group=0,  # a terminal sends Ctrl-C to this process only, which forwards it once
    )  # fmt: skip
    there.close()
    return _Rank(process, here)


def _threads(processes: int) -> dict[str, str]:
    """Return the variable that divides the cores among the processes, unless the user set one."""
    if threads_are_chosen(os.environ):
        return {}
    return {"OMP_NUM_THREADS": str(max(1, cores() // processes))}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _forward_signal(started: Sequence[_Rank], number: int) -> None:
    for one in started:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM if number == ON_REQUEST else number)


def _wait(started: Sequence[_Rank], stop: StopRequest) -> list[int]:
    """Return the exit statuses of all processes: LOST for one that does not end in time."""
    deadline: float | None = None
    while None in (statuses := [one.process.poll() for one in started]):
        for one in started:
            one.forward_events()
        one_ended = any(status not in (None, 0, PAUSED) for status in statuses)
        if deadline is None and (stop.insists or one_ended):
            deadline = time.monotonic() + _GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    for one in started:
        one.forward_events()
    return [LOST if status is None else status for status in statuses]


def _failed(status: int) -> bool:
    """Return whether the process ended because of a mistake or a bug."""
    return status not in (0, PAUSED, IN_USE, LOST) and _signal(status) is None


def _signal(status: int) -> signal.Signals | None:
    """Return the signal that ended the process, immediately or after it had cleaned up."""
    number = -status if status < 0 else status - 128
    return next((one for one in signal.Signals if one == number), None)


def _end(started: Sequence[_Rank]) -> None:
    for one in started:
        one.process.kill()
        one.process.wait()
        if one.process.stdin:
            one.process.stdin.close()
        one.events.close()


def _outcome(config: RunConfig, statuses: Sequence[int], *, stop_number: int = 0) -> Record:
    """Return the record of the run, or raise why there is none.

    Args:
        stop_number: the signal or request to stop that was forwarded to the processes; 0 if none.
    """
    folder, first = run_folder(config), statuses[0]  # the main process writes all files
    if first == 0:
        return Record.read(folder)
    if first == PAUSED:
        raise RunPaused(f"Paused at the requested step: {folder}", reported=True)
    if first == IN_USE:
        raise InUseError(f"{folder} is in use by another process.", reported=True)
    if any(map(_failed, statuses)):
        failure = folder / FAILURE
        why = failure.read_text(encoding="utf-8").strip() if failure.is_file() else ""
        raise AnimaError(why or f"The run failed: {folder}", reported=1 in statuses)
    if first > 128 or stop_number:  # a process that is interrupted twice may end with any status
        status = first if first > 128 else exit_status(stop_number)
        error = RunInterrupted(
            f"Interrupted. Run the same command again to resume: {folder}", exit_status=status
        )
        error.reported = first > 128
        raise error
    raise PeerLostError(
        f"{_describe_lost_rank(statuses)} Run the same command again to resume from the last "
        f"checkpoint: {folder}"
    )


def _describe_lost_rank(statuses: Sequence[int]) -> str:
    # If several ended by a signal, one that could not clean up was probably the first.
    for rank in sorted(range(len(statuses)), key=lambda rank: statuses[rank] > 0):
        if ended_by := _signal(statuses[rank]):
            return (
                f"Process {rank} of {len(statuses)} was killed by {ended_by.name}, so the others "
                "were stopped."
            )
    return f"The {len(statuses)} processes of this run lost contact with one another."
