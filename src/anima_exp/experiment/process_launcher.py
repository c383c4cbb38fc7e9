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
_GRACE_SECONDS = 60  # for the others to end too, when one is gone or a user insists
_LOOK_SECONDS = 0.1


def launch(config: RunConfig, processes: int, *, until: int | None, stop: StopRequest) -> Record:
    """Run `config` in so many processes of this machine; see experiment.run.

    What they emit is emitted here, and a request to stop is passed on to them.

    Raises:
        RunEnded: it was stopped or paused, or one process was killed.
        AnimaError: the run failed; a process of it has emitted why.
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
            with stop.watch(partial(_pass_on, started), passes_on=True):
                if stop.number:  # requested before there was anyone to stop
                    _pass_on(started, stop.number)
                statuses = _wait(started, stop)
        finally:
            _end(started)
    return _outcome(config, statuses, asked=stop.number)


def read(settings: Path) -> RunConfig:
    """What `launch` wrote."""
    found = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(RunConfig), OmegaConf.load(settings))
    )
    assert isinstance(found, RunConfig)
    return found


@dataclass(frozen=True)
class _Started:
    process: "subprocess.Popen[bytes]"
    events: "Connection"  # what it emits

    def hear(self) -> None:
        """Emit what it has emitted since the last look."""
        while True:
            try:
                if not self.events.poll():
                    return
                event = self.events.recv()
            except (EOFError, OSError):  # it is gone
                return
            emit(event)


def _start(settings: Path, until: int | None, rank: int, processes: int, port: int) -> _Started:
    place = {
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
            **{key: str(value) for key, value in place.items()},
        },
        stdin=subprocess.PIPE,  # closed when this process is gone, which ends them too
        pass_fds=[there.fileno()],
        process_group=0,  # a terminal's Ctrl-C reaches this process, which passes it on once
    )  # fmt: skip
    there.close()
    return _Started(process, here)


def _threads(processes: int) -> dict[str, str]:
    """The cores, divided among the processes; nothing if the user has chosen how many threads."""
    if threads_are_chosen(os.environ):
        return {}
    return {"OMP_NUM_THREADS": str(max(1, cores() // processes))}


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _pass_on(started: Sequence[_Started], number: int) -> None:
    for one in started:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM if number == ON_REQUEST else number)


def _wait(started: Sequence[_Started], stop: StopRequest) -> list[int]:
    """The statuses of all, LOST for one that has not ended in time: see _GRACE_SECONDS."""
    hurried_at: float | None = None
    while None in (statuses := [one.process.poll() for one in started]):
        for one in started:
            one.hear()
        gone = any(status not in (None, 0, PAUSED) for status in statuses)
        if hurried_at is None and (stop.insists or gone):
            hurried_at = time.monotonic()
        if hurried_at is not None and time.monotonic() - hurried_at > _GRACE_SECONDS:
            break
        time.sleep(_LOOK_SECONDS)
    for one in started:
        one.hear()
    return [LOST if status is None else status for status in statuses]


def _failed(status: int) -> bool:
    """Whether it ended by a mistake or a bug of its own."""
    return status not in (0, PAUSED, IN_USE, LOST) and _signal(status) is None


def _signal(status: int) -> signal.Signals | None:
    """That ended it, at once or after it had tidied up."""
    number = -status if status < 0 else status - 128
    return next((one for one in signal.Signals if one == number), None)


def _end(started: Sequence[_Started]) -> None:
    for one in started:
        one.process.kill()
        one.process.wait()
        if one.process.stdin:
            one.process.stdin.close()
        one.events.close()


def _outcome(config: RunConfig, statuses: Sequence[int], *, asked: int = 0) -> Record:
    """What all of them come to; `asked` is the request to stop that was passed on to them."""
    folder, first = run_folder(config), statuses[0]  # the first process has written all there is
    if first == 0:
        return Record.read(folder)
    if first == PAUSED:
        raise RunPaused(f"Paused at the requested step: {folder}", told=True)
    if first == IN_USE:
        raise InUseError(f"{folder} is in use by another process.", told=True)
    if any(map(_failed, statuses)):
        failure = folder / FAILURE
        why = failure.read_text(encoding="utf-8").strip() if failure.is_file() else ""
        raise AnimaError(why or f"The run failed: {folder}", told=1 in statuses)
    if first > 128 or asked:  # one that is interrupted twice may not end in good order
        status = first if first > 128 else exit_status(asked)
        error = RunInterrupted(
            f"Interrupted. Run the same command again to resume: {folder}", exit_status=status
        )
        error.told = first > 128
        raise error
    raise PeerLostError(
        f"{_who_ended(statuses)} Run the same command again to resume from the last checkpoint: "
        f"{folder}"
    )


def _who_ended(statuses: Sequence[int]) -> str:
    # Of several, one that had no time to tidy up: it was there before what was done about it.
    for rank in sorted(range(len(statuses)), key=lambda rank: statuses[rank] > 0):
        if ended_by := _signal(statuses[rank]):
            return (
                f"Process {rank} of {len(statuses)} was killed by {ended_by.name}, so the others "
                "were stopped."
            )
    return f"The {len(statuses)} processes of this run lost contact with one another."
