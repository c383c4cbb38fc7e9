"""Whole runs of the project's commands, each in a process of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
INSIDE = Path(__file__).with_name("inside.py")
# Twelve steps on 256 rows of the embedded tiny sample.
TINY = (
    "data.max_rows=256", "data.heldout_rows=32", "trainer.max_steps=12", "trainer.log_every=1",
    "trainer.save_every=6", "evals=[heldout]", "trainer.eval_every=null", "tracking=none",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What a run has left."""

    folder: Path
    status: int
    seconds: float
    said: str  # the end of what it printed

    @property
    def losses(self) -> list[float]:
        file = self.folder / "metrics.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [row["loss"] for row in map(json.loads, lines) if "loss" in row]

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "record.json").read_text("utf-8"))
        return found

    @property
    def inside(self) -> dict[str, Any]:
        """What inside.py has measured in the run's process."""
        file = self.folder.with_suffix(".inside.json")
        found: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.exists() else {}
        return found


def train(
    folder: Path,
    settings: Sequence[str],
    *,
    gpu: bool = True,
    threads: int | None = None,
    inside: Sequence[str] = (),
    caching: bool = False,
) -> Done:
    """Train into `folder`.

    Args:
        gpu: False hides the GPU.
        inside: options of inside.py.
        caching: torch's allocator, even where the caller has switched it off.
    """
    wanted = [f"cache_dir={folder.parent / 'cache'}", f"run_dir={folder}", *settings]
    report = folder.with_suffix(".inside.json")
    command = [sys.executable, str(INSIDE), str(report), *inside, "--", *wanted]
    environment = {**os.environ, "PYTHONPATH": _path()}
    if not gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    if caching:
        environment.pop("PYTORCH_NO_CUDA_MEMORY_CACHING", None)
    return _run(command, environment, folder)


def command(name: str, *settings: str, folder: Path) -> Done:
    """Run `python -m anima_exp.NAME`."""
    line = [sys.executable, "-m", f"anima_exp.{name}", *settings]
    return _run(line, {**os.environ, "PYTHONPATH": _path()}, folder)


def _run(line: list[str], environment: dict[str, str], folder: Path) -> Done:
    folder.parent.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    done = subprocess.run(
        line,
        env=environment,
        cwd=ROOT,
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    seconds = time.perf_counter() - begun
    print(f"--- {' '.join(line)}\n{done.stdout}", flush=True)  # into the log
    return Done(folder, done.returncode, seconds, done.stdout.strip()[-700:])


def _path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH", ""))))
