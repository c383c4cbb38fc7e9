"""One cell of a grid, and what its folder says about it."""

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
    """What the folder of a cell shows while nobody works on it."""

    new = "new"
    begun = "begun"  # there is a checkpoint to go on from
    failed = "failed"
    done = "done"


@dataclass(frozen=True)
class Cell:
    """A run that a sweep wants done."""

    number: int
    overrides: tuple[str, ...]  # `python -m anima_exp.train *overrides` is this cell alone
    label: str  # of these, the ones that differ between the cells
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
        return State.begun if checkpoint.newest(self.folder / "checkpoints") else State.new

    @property
    def damage(self) -> str | None:
        """Why its record says nothing, in one line; the run makes it anew. None if all is well."""
        file = self.folder / RECORD
        try:
            found = file.stat()
        except OSError:
            return None
        return _damage(self.folder, found.st_size, found.st_mtime_ns, found.st_ino)

    def measured(self, metric: str) -> list[tuple[int, float]]:
        """What metrics.jsonl says of `metric`: steps and values, without lines that are damaged."""
        return [
            (row["step"], float(row[metric]))
            for row in self.logged()
            if _is_number(row.get(metric))
        ]

    def logged(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, without those that are damaged."""
        try:
            rows = JsonLinesLog(self.folder / "metrics.jsonl").rows()
        except (OSError, ValueError):
            return []
        return [row for row in rows if isinstance(row, dict) and type(row.get("step")) is int]

    @property
    def busy(self) -> bool:
        """Whether another process works on it."""
        if not (self.folder / LOCK).exists():
            return False
        try:
            with FileLock(self.folder / LOCK).acquire(timeout=0):
                return False
        except Timeout:
            return True

    @property
    def failure(self) -> str:
        """Why it failed, in one line."""
        try:
            text = (self.folder / "failure.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "no reason was recorded" if self.folder.is_dir() else "its job never started"
        return text.strip().split("\n")[0] or "no reason was recorded"


def by_setting(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells that differ in nothing but the seed, together."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        settings = {k: v for k, v in identity.identity_settings(cell.config).items() if k != "seed"}
        found.setdefault(json.dumps(settings, sort_keys=True), []).append(cell)
    return list(found.values())


@lru_cache(maxsize=2**15)
def _damage(folder: Path, _size: int, _changed: int, _inode: int) -> str | None:
    # Kept by size, time of change and inode: the state of a cell is asked for many times.
    try:
        scores = Record.read(folder).scores
        if not isinstance(scores, dict) or not all(map(_is_number, scores.values())):
            return "its scores are not numbers"
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return first_line(error)
    return None


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


# What the sweep asks of a child process, and how that ended.


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
    gpu_taken = Exit.gpu_taken
    cuda_initialized = Exit.cuda_initialized
    stopped = Exit.stopped
    pruned = "given up"  # stopped, because the schedule thought it should_prune
    server_gone = "server gone"  # the process it is forked from was ended, before the job began
