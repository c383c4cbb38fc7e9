"""Checkpoints of a run: written whole or not at all, found again, pruned."""

import re
import shutil
from pathlib import Path

from anima_exp.results.files import publish_folder, remove_folder

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
    """Move a finished draft into place, then delete all but the `keep` newest checkpoints."""
    target = folder / draft.name
    publish_folder(draft, target)
    draft.parent.rmdir()
    for old in all_checkpoints(folder)[:-keep]:
        remove_folder(old)
    return target


def clear_drafts(folder: Path) -> None:
    """Remove what a killed run left half-written."""
    for draft in folder.glob(f"{DRAFT}*"):
        shutil.rmtree(draft)
