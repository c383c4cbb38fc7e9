"""Checkpoints of a run: written whole or not at all, found again, pruned."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anima_exp.errors import RunError
from anima_exp.results.files import publish_folder, remove_folder
from anima_exp.training import manifest

_NAME = re.compile(r"^checkpoint-(\d+)$")
DRAFT = ".draft"


def all_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest step first. Drafts of a killed run are not among them."""
    places = folder.glob("checkpoint-*")
    found = [path for path in places if _NAME.match(path.name) and path.is_dir()]
    return sorted(found, key=step)


def newest(folder: Path) -> Path | None:
    """Return the newest checkpoint by its name alone, whole or not."""
    return max(all_checkpoints(folder), key=step, default=None)


def newest_whole(folder: Path, say: Callable[[str], None]) -> Path | None:
    """Return the newest checkpoint that is whole. `say` takes one line for each that is not.

    Every byte is read, which takes about 1 ms per MiB.

    Raises:
        RunError: a checkpoint cannot be read, or a later version of anima-exp wrote it.
    """
    found = all_checkpoints(folder)
    for path in reversed(found):
        try:
            problem = manifest.problem(path, step=step(path))
        except PermissionError as error:
            raise RunError(
                f"Cannot read {error.filename}: {error.strerror}. Make it readable; or give this "
                "run another folder=... to train it anew."
            ) from error
        if problem is None:
            return path
        say(f"resume   {path} cannot be used: {problem}")
    if found:
        say("resume   no checkpoint is whole: training starts again at step 0")
    return None


def step(checkpoint: Path) -> int:
    """The optimizer steps done when `checkpoint` was written."""
    match = _NAME.match(checkpoint.name)
    assert match, checkpoint
    return int(match[1])


def publish(draft: Path, folder: Path, *, keep: int, journal: dict[str, Any] | None = None) -> Path:
    """Move a finished draft into place, then delete all but the `keep` newest checkpoints.

    Those of later steps go first: training would have resumed from them if they were whole.

    Args:
        journal: what the checkpoint relies on of the run's journal (results/journal.py).
    """
    target = folder / draft.name
    manifest.seal(draft, step=step(draft), journal=journal or {})
    publish_folder(draft, target)
    draft.parent.rmdir()
    found = all_checkpoints(folder)
    done = [path for path in found if step(path) <= step(target)]
    for old in [*found[len(done) :], *done[:-keep]]:
        remove_folder(old)
    return target


def clear_drafts(folder: Path) -> None:
    """Remove what a killed run left half-written."""
    for draft in folder.glob(f"{DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)
