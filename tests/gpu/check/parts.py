"""Run the parts of the check: each in a process of its own that is killed at its limit."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from check.rows import PART, Rows

LOG = "log.txt"
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Part:
    """One process of the check. Seconds are estimates for an H200 with 16 processor cores."""

    name: str
    expected_seconds: int
    limit_seconds: int
    answers: str
    # Its memory is measured: by torch's allocator as users have it, even where the environment
    # switches that off (on a hollow GPU, where fresh memory holds zeros).
    caching: bool = False


# The most telling first, so that a cut leaves the questions that matter least.
PARTS = [
    Part("machine", 20, 60, "Which versions, and what can this GPU and its host do at most?"),
    Part("kernels", 45, 100, "Does the GPU compute what a CPU computes?"),
    Part("tiny", 75, 130, "Do whole runs learn alike, in every type and after a kill?"),
    Part("memory", 30, 70, "Does a run survive a GPU that is too small?"),
    Part(
        "speed", 110, 170, "How fast is 7B, what limits it, and is its memory as predicted?", True
    ),
    Part("use", 60, 110, "Do generate, evaluate and merge work, and how fast is an answer?"),
    Part("trl", 70, 130, "How fast is TRL at its best settings?"),
    Part("large", 110, 180, "Do 33B and, in 48 GB, 65B fit and run as predicted?", True),
]
Command = Callable[[Part], Sequence[str]]


def run_parts(
    parts: Sequence[Part],
    command: Command,
    *,
    out: Path,
    seconds: float,
    patience: float = 1.0,
    least: float = 15,
    after: Callable[[], object] = lambda: None,
) -> None:
    """Run `parts` one after the other. One that fails or hangs does not stop the others.

    Args:
        command: what starts a part.
        out: the folder of rows and log.
        seconds: for all of them.
        patience: a factor of each part's limit, for slow machines.
        after: called after each part.
        least: seconds; a part that could not even import its libraries is not begun.
    """
    out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    for part in parts:
        left = seconds - (time.monotonic() - begun)
        rows = Rows(out, part.name)
        if left < least:
            rows.add(PART, state="left out", why=f"{max(left, 0):.0f} of {seconds:.0f} s were left")
            continue
        limit = part.limit_seconds * patience
        rows.add(PART, state="begun", limit_seconds=round(limit, 1))
        environment = dict(os.environ)
        if part.caching:
            environment.pop("PYTORCH_NO_CUDA_MEMORY_CACHING", None)
        _run(command(part), rows, out / LOG, limit=limit, left=left, environment=environment)
        after()


def _run(
    command: Sequence[str],
    rows: Rows,
    log: Path,
    *,
    limit: float,
    left: float,
    environment: dict[str, str],
) -> None:
    begun = time.monotonic()
    with log.open("ab") as file:
        start = file.seek(0, os.SEEK_END)
        # In a session of its own, so that what it has started is killed with it.
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
        try:
            status = process.wait(timeout=min(limit, left))
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _kill(process)
    end: dict[str, object] = {"state": "ended"}
    if status is None:
        end = {"state": "out of time" if left < limit else "at its limit"}
    elif status:
        end = {"state": "failed", "status": status, "error": _last_words(log, start)}
    rows.add(PART, **end, seconds=round(time.monotonic() - begun, 1))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):  # it and all that it started have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_words(log: Path, start: int) -> str:
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-12:])[-1500:]


def python(*arguments: str) -> list[str]:
    """Return a command that starts this check again with `arguments`."""
    return [sys.executable, str(HERE), *arguments]
