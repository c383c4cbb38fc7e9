"""One cell of a grid, and what its folder says about it."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout

from anima_exp.config import RunConfig
from anima_exp.results.folder import LOCK, LOG
from anima_exp.results.record import RECORD
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
        if (self.folder / RECORD).is_file():
            return State.done
        if (self.folder / "failure.txt").is_file():
            return State.failed
        return State.begun if checkpoint.newest(self.folder / "checkpoints") else State.new

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
            return (self.folder / "failure.txt").read_text(encoding="utf-8").strip().split("\n")[0]
        except OSError:
            return "no reason was left" if self.folder.is_dir() else "its job never began"
