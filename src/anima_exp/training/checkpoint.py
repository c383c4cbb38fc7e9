"""Checkpoints of a run: written whole or not at all, found again, pruned."""

import os
import re
import shutil
from pathlib import Path

_NAME = re.compile(r"^checkpoint-(\d+)$")
DRAFT = ".draft"


def all_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest step first. Drafts of a killed run are not among them."""
    found = [path for path in folder.glob("checkpoint-*") if _NAME.match(path.name)]
    return sorted(found, key=step)


def newest(folder: Path) -> Path | None:
    return max(all_checkpoints(folder), key=step, default=None)


def step(checkpoint: Path) -> int:
    """The optimizer steps done when `checkpoint` was written."""
    match = _NAME.match(checkpoint.name)
    assert match, checkpoint
    return int(match[1])


def publish(draft: Path, folder: Path, *, keep: int) -> Path:
    """Move a finished draft into place, then delete all but the `keep` newest checkpoints.

    The files reach the disk before the rename does, so a checkpoint that can be seen is whole,
    also after a power cut.
    """
    for path in draft.rglob("*"):
        if path.is_file():
            _flush(path)
    target = folder / draft.name
    if target.exists():  # from a run that was killed between this step and the next log
        shutil.rmtree(target)
    draft.replace(target)
    draft.parent.rmdir()
    _flush(folder)
    for old in all_checkpoints(folder)[:-keep]:
        # Renamed first: a kill in the middle of deleting must not leave half a checkpoint.
        doomed = old.with_name(f"{DRAFT}-{old.name}")
        old.replace(doomed)
        shutil.rmtree(doomed)
    return target


def clear_drafts(folder: Path) -> None:
    """Remove what a killed run left half-written."""
    for draft in folder.glob(f"{DRAFT}*"):
        shutil.rmtree(draft)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
