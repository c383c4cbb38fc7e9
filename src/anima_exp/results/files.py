"""Files and folders that are whole or absent: written beside, then moved into place.

What is moved has reached the disk before, so that this holds after a power cut too.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anima_exp.errors import RunError, first_line


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a full or failing disk into one line; each library has an error of its own for it."""
    try:
        yield
    except Exception as error:
        of_a_library = type(error).__name__ == "SafetensorError" or "StreamWriter" in str(error)
        if not isinstance(error, OSError) and not of_a_library:
            raise
        reason = first_line(error)
        raise RunError(
            f"Cannot write to {folder}: {reason}. Make room; the same command goes on from the "
            "last checkpoint."
        ) from error


@contextmanager
def asked_for(path: Path, *, way_out: str) -> Iterator[None]:
    """Around the writing of a file where a user wants it; folders on the way are made.

    Raises:
        RunError: it cannot be written. `way_out` says what to give instead.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"Cannot write {path}: {reason}. {way_out}") from error


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step; a crash leaves the old file or the new one."""
    # Named by the process, for several may write the same thing at once.
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _flush(path.parent)


def publish_folder(draft: Path, folder: Path) -> None:
    """Move the finished folder `draft` to `folder`, in place of what is there."""
    for path in draft.rglob("*"):
        _flush(path)
    _flush(draft)
    if folder.exists():
        remove_folder(folder)
    draft.replace(folder)
    _flush(folder.parent)


def remove_folder(folder: Path) -> None:
    """Delete a folder; a kill in the middle leaves none that looks whole."""
    doomed = folder.with_name(f".draft-{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.replace(doomed)
    shutil.rmtree(doomed)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
