"""Write files and folders so that they are complete or absent, even after a power cut.

The contents are written under a temporary name, flushed to the disk, and then renamed.
"""

import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from anima_exp.errors import RunError, without_passwords
from anima_exp.system import json_files


@contextmanager
def disk_errors_as_run_error(folder: Path) -> Iterator[None]:
    """Raise RunError in place of the errors of a full or failing disk."""
    try:
        yield
    except Exception as error:
        reason = why_not_written(error)
        if reason is None:
            raise
        raise RunError(
            f"Cannot write to {folder}: {reason}. Free some space or make it writable. Then run "
            "the same command again to resume from the last checkpoint."
        ) from error


def why_not_written(error: BaseException) -> str | None:
    """Return why a file could not be written; None for an error of another kind.

    Libraries report a full disk differently: safetensors by SafetensorError, PyTorch by
    RuntimeError without the system's reason, tokenizers by Exception.
    """
    text = str(error)
    if isinstance(error, OSError):
        return error.strerror or f"{text} (is the disk full?)"
    if number := re.search(r"\(os error (\d+)\)", text):
        return os.strerror(int(number[1]))
    if type(error).__name__ == "SafetensorError":
        return text
    written_by_torch = ("StreamWriter", "unexpected pos", "iostream error", "file write failed")
    if isinstance(error, RuntimeError) and any(part in text for part in written_by_torch):
        return "not every byte could be written (is the disk full?)"
    return None


@contextmanager
def user_output(path: Path, *, way_out: str) -> Iterator[None]:
    """Create the folders above an output file, and raise RunError if it cannot be written.

    Args:
        way_out: what the user can do about it, for the error message.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"Cannot write {path}: {reason}. {way_out}") from error


def atomic_write_text(path: Path, text: str) -> None:
    """Replace the content of `path` in one step. A crash leaves the old file or the new one."""
    # A unique name, because several processes, even of several machines, may write the same file.
    draft = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)  # frees space on a full disk
        raise
    flush(path.parent)


def replace_folder(draft: Path, folder: Path) -> None:
    """Move the finished folder `draft` to `folder`, and remove what was there."""
    share_as_folder(draft)
    for path in draft.rglob("*"):
        flush(path)
    flush(draft)
    if folder.exists():
        remove_folder(folder)
    draft.replace(folder)
    flush(folder.parent)


def share_as_folder(folder: Path) -> None:
    """Let everyone who may read `folder` read its files too.

    Some libraries write files that only their owner may read (safetensors: mode 0600).
    """
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            mode, wanted = path.stat().st_mode, path.parent.stat().st_mode & 0o666
            if mode & wanted != wanted:
                with suppress(PermissionError):  # of a file system without modes
                    path.chmod(stat.S_IMODE(mode) | wanted)


def remove_folder(folder: Path) -> None:
    """Delete a folder. If the process is killed meanwhile, it leaves none that looks complete."""
    doomed = folder.with_name(f".draft-{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.replace(doomed)
    shutil.rmtree(doomed)


def write_json(path: Path, value: object) -> None:
    """Write a JSON value to `path` in one step, without the passwords of URLs in it."""
    value = without_passwords(value)
    atomic_write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Return the value in a JSON file; see `json_files.read_file`."""
    return json_files.read_file(path)


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
