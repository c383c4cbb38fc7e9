"""Describe one run of a sweep, its state on disk, and how its job ended."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from anima_exp.config import RunConfig
from anima_exp.errors import first_line
from anima_exp.results import identity
from anima_exp.results.folder import LOCK, LOG
from anima_exp.results.record import RECORD, Record
from anima_exp.system.child_process import Exit
from anima_exp.system.json_lines import JsonLinesLog
from anima_exp.training import checkpoint


class State(StrEnum):
    """State of a run folder that no process uses."""

    new = "new"
    partial = "partial"  # there is a checkpoint to resume from
    failed = "failed"
    done = "done"


@dataclass(frozen=True)
class Cell:
    """A run of a sweep: one configuration with one seed."""

    number: int
    overrides: tuple[str, ...]  # `anima-exp train *overrides` starts only this run
    label: str  # the overrides that differ between the runs of the sweep
    config: RunConfig
    name: str
    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / LOG

    @property
    def state(self) -> State:
        if (self.folder / RECORD).is_file() and not self.damage:
            return State.done
        if (self.folder / "failure.txt").is_file():
            return State.failed
        return State.partial if checkpoint.newest(self.folder / "checkpoints") else State.new

    @property
    def damage(self) -> str | None:
        """Why the record cannot be read, in one line; None if it can. The run writes it again."""
        file = self.folder / RECORD
        try:
            found = file.stat()
        except OSError:
            return None
        return _damage(self.folder, found.st_size, found.st_mtime_ns, found.st_ino)

    def measured(self, metric: str) -> list[tuple[int, float]]:
        """Return the (step, value) pairs of `metric` in metrics.jsonl, without damaged lines."""
        return [
            (row["step"], float(row[metric]))
            for row in self.logged()
            if _is_number(row.get(metric))
        ]

    def logged(self) -> list[dict[str, Any]]:
        """Return the rows of metrics.jsonl, without damaged lines."""
        try:
            rows = JsonLinesLog(self.folder / "metrics.jsonl").rows()
        except (OSError, ValueError):
            return []
        return [row for row in rows if isinstance(row, dict) and type(row.get("step")) is int]

    @property
    def busy(self) -> bool:
        """Whether another process holds the run folder's lock."""
        if not (self.folder / LOCK).exists():
            return False
        try:
            with FileLock(self.folder / LOCK).acquire(timeout=0):
                return False
        except Timeout:
            return True

    @property
    def failure(self) -> str:
        """Why the run failed, in one line."""
        try:
            text = (self.folder / "failure.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "no reason was recorded" if self.folder.is_dir() else "its job never started"
        return text.strip().split("\n")[0] or "no reason was recorded"


def by_setting(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Group the runs that differ only in their seed."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        settings = {k: v for k, v in identity.identity_settings(cell.config).items() if k != "seed"}
        found.setdefault(json.dumps(settings, sort_keys=True), []).append(cell)
    return list(found.values())


@lru_cache(maxsize=2**15)
def _damage(folder: Path, _size: int, _changed: int, _inode: int) -> str | None:
    # Cached by size, modification time and inode, because a run's state is read many times.
    try:
        scores = Record.read(folder).scores
        if not isinstance(scores, dict) or not all(map(_is_number, scores.values())):
            return "its scores are not numbers"
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return first_line(error)
    return None


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value)


# Environment variable of the fork server, set to `cpu` or `gpu` while the server starts.
WARM_FOR = "ANIMA_EXP_WARM_FOR"


@dataclass(frozen=True)
class Job:
    """Run `cell` to its end, or pause it at step `until`."""

    cell: Cell
    until: int | None = None


class Outcome(Enum):
    """How a job ended. The value is the exit status that reports it, if there is one."""

    done = Exit.done
    failed = Exit.failed
    paused = Exit.paused
    in_use = Exit.in_use
    gpu_taken = Exit.gpu_taken
    cuda_initialized = Exit.cuda_initialized
    stopped = Exit.stopped
    pruned = "pruned"  # stopped, because the schedule decided to prune it
    server_gone = "server gone"  # the fork server died before the job started
