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
    """Turn a full or failing disk into one line."""
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
    """The reason why a file could not be written; None for an error of another kind.

    Each library has an error of its own for a full disk: safetensors SafetensorError, PyTorch
    RuntimeError without the system's reason, tokenizers a bare Exception.
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


def atomic_write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in one step; a crash leaves the old file or the new one."""
    # A name of its own: several processes, also of several machines, may write the same file.
    draft = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink(missing_ok=True)  # on a full disk it would take the missing room
        raise
    flush(path.parent)


def replace_folder(draft: Path, folder: Path) -> None:
    """Move the finished folder `draft` to `folder`, in place of what is there."""
    share_as_folder(draft)
    for path in draft.rglob("*"):
        flush(path)
    flush(draft)
    if folder.exists():
        remove_folder(folder)
    draft.replace(folder)
    flush(folder.parent)


def share_as_folder(folder: Path) -> None:
    """Let those read the files of `folder` who may read the folder: it follows the umask.

    Some libraries write files that only their owner may read (safetensors: mode 0600).
    """
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            mode, wanted = path.stat().st_mode, path.parent.stat().st_mode & 0o666
            if mode & wanted != wanted:
                with suppress(PermissionError):  # of a file system without modes
                    path.chmod(stat.S_IMODE(mode) | wanted)


def remove_folder(folder: Path) -> None:
    """Delete a folder; a kill in the middle leaves none that looks whole."""
    doomed = folder.with_name(f".draft-{folder.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.replace(doomed)
    shutil.rmtree(doomed)


def write_json(path: Path, value: object) -> None:
    """Replace `path` by `value` as JSON, without the passwords that addresses in it may hold."""
    value = without_passwords(value)
    atomic_write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """See `json_text.read`."""
    return json_files.read_file(path)


def flush(path: Path) -> None:
    """Bring what was written to a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
