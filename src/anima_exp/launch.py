"""A config that asks for several processes -> those, one a GPU, and how they ended.

torchrun does this too, and across machines; this is for one machine and no second command line.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from anima_exp.config import RunConfig
from anima_exp.errors import AnimaError, InUse, LostContact, Paused, Stopped
from anima_exp.results.folder import FAILURE, run_folder
from anima_exp.results.record import Record
from anima_exp.signals import FROM_CLUSTER

# Exit statuses that a process of ours gives besides 0, 1 and 128 + the signal it was stopped by.
PAUSED, IN_USE = 70, 71
_GRACE_SECONDS = 30  # for the others to finish a checkpoint, when one has failed
_LOOK_SECONDS = 0.1


def launch(config: RunConfig, processes: int, *, until: int | None) -> float | None:
    """Run `config` in so many processes of this machine; see experiment.run.

    Raises:
        LostContact: one was killed.
        AnimaError: the run failed, was stopped or paused; it has been told.
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
            with _signals_to(started):
                _wait(started)
        finally:
            _end(started)
    return _outcome(config, [process.returncode for process in started])


def read(settings: Path) -> RunConfig:
    """What `launch` wrote."""
    found = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(RunConfig), OmegaConf.load(settings))
    )
    assert isinstance(found, RunConfig)
    return found


def _start(
    settings: Path, until: int | None, rank: int, processes: int, port: int
) -> "subprocess.Popen[bytes]":
    threads = max(1, (os.cpu_count() or 1) // processes)
    place = {
        "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes,
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-m", "anima_exp.launched", str(settings), str(until or 0)],
        env={
            "OMP_NUM_THREADS": str(threads),
            **os.environ,
            **{key: str(value) for key, value in place.items()},
        },
        stdin=subprocess.PIPE,  # closed when this process is gone, which ends them too
        process_group=0,  # a terminal's Ctrl-C reaches this process, which passes it on once
    )


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def _signals_to(started: "Sequence[subprocess.Popen[bytes]]") -> Iterator[None]:
    def pass_on(number: int, _: Any) -> None:
        for process in started:
            if process.poll() is None:
                process.send_signal(number)

    before = {
        number: signal.signal(number, pass_on)
        for number in (signal.SIGINT, signal.SIGTERM, *FROM_CLUSTER)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait(started: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Until all have ended, or _GRACE_SECONDS after one failed."""
    failed_at: float | None = None
    while any(process.poll() is None for process in started):
        if failed_at is None and any(_failed(process.returncode) for process in started):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > _GRACE_SECONDS:
            return
        time.sleep(_LOOK_SECONDS)


def _failed(status: int | None) -> bool:
    return status is not None and status != 0 and not 70 <= status <= 71 and status < 128


def _end(started: "Sequence[subprocess.Popen[bytes]]") -> None:
    for process in started:
        process.kill()
        process.wait()
        if process.stdin:
            process.stdin.close()


def _outcome(config: RunConfig, statuses: Sequence[int]) -> float | None:
    folder = run_folder(config)
    killed = [rank for rank, status in enumerate(statuses) if status < 0]
    first = statuses[0]
    if any(map(_failed, statuses)):
        told = [status for status in statuses if status == 1]
        if killed and not (folder / FAILURE).is_file():
            name = signal.Signals(-statuses[killed[0]]).name
            raise LostContact(
                f"Process {killed[0]} of {len(statuses)} was ended by {name}, and the others with "
                f"it. The same command goes on from the last checkpoint: {folder}"
            )
        failure = folder / FAILURE
        why = failure.read_text(encoding="utf-8").strip() if failure.is_file() else ""
        raise AnimaError(why or f"The run failed: {folder}", told=bool(told))
    if first == PAUSED:
        raise Paused(f"Paused at the step that was asked for: {folder}", told=True)
    if first == IN_USE:
        raise InUse(f"{folder} is in use by another process.", told=True)
    if first:
        error = Stopped(f"Stopped; the same command goes on: {folder}", exit_status=first)
        error.told = True
        raise error
    return Record.load(folder).scores.get("heldout_loss")
