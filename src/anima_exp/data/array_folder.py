"""Write arrays and their description to a folder that is complete or absent, and open it again.

A folder is written under a temporary name and then renamed. `meta.json` holds the SHA-256 of every
array, so a damaged file is noticed.
"""

import atexit
import errno
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from anima_exp.errors import DataError, NewerFileError
from anima_exp.events import note
from anima_exp.system import hashing, json_files

META = "meta.json"
_DRAFT = ".draft-"
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_ABANDONED_SECONDS = 24 * 3600  # nothing takes a day to tokenize: its process was killed

Array = npt.NDArray[Any]
T = TypeVar("T")


def open_arrays(
    folder: Path, names: Sequence[str], version: int
) -> tuple[dict[str, Any], list[Array]]:
    """Return the content of `meta.json` and the arrays, mapped into memory.

    Raises:
        OSError, ValueError: if the folder is missing or damaged.
        NewerFileError: if a later version of anima-exp wrote it.
    """
    meta = folder / META
    try:
        kept = json_files.read_versioned(json_files.read_table(meta), meta, version)
        sums = kept.pop("sha256", None)  # the first version stored none
        arrays = [
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names
        ]
        if sums is not None and sums != _sums(folder, names):
            raise ValueError("its bytes have changed")
    except (TypeError, EOFError) as error:
        raise ValueError(f"{folder}: {error}") from error
    return kept, arrays


def opened_or_built(folder: Path, opened: Callable[[Path], T], build: Callable[..., T]) -> T:
    """Return the set in a folder of the cache, or build it there, or for this process only.

    Args:
        opened: opens the set in a folder.
        build: builds it in the folder `target=...`.

    Raises:
        DataError: if the cache cannot be written.
    """
    cache = folder.parents[1]
    try:
        return opened(folder)
    except NewerFileError:
        note(json_files.not_used(folder / META))
        return build(target=_temporary_cache() / folder.name)
    except (OSError, ValueError):
        pass
    try:
        return build(target=folder)
    except OSError as error:  # from writing, because reading raises DataError
        if error.errno in _READ_ONLY:
            note(f"data     {cache} is not writable, so the token ids are kept for this run only")
            return build(target=_temporary_cache() / folder.name)
        raise DataError(
            f"Token ids cannot be written to {cache}: {error.strerror or error}. "
            "Choose another folder with cache_dir=FOLDER or ANIMA_EXP_CACHE."
        ) from error


def _temporary_cache() -> Path:
    """Create a folder that exists as long as this process, if the cache cannot be written."""
    folder = Path(tempfile.mkdtemp(prefix="anima_exp-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / "tokens"


class ArrayFolder:
    """A folder with arrays that is being written.

    The int32 ids go to the disk as they come, so a set of 700,000 rows need not fit into memory
    twice.
    """

    def __init__(self, target: Path, *, growing: str = "ids") -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        self.target, self.growing = target, growing
        self.folder = target.with_name(f"{_DRAFT}{secrets.token_hex(8)}")
        self.folder.mkdir()  # mkdtemp would create a folder that only its owner may read
        self._file: BinaryIO = (self.folder / f"{growing}.npy").open("wb")
        self._count = 0
        self._write_header()

    def close(self) -> None:
        """Remove the folder, unless it has its final name."""
        with suppress(OSError):  # on a full disk, which has raised an error already
            self._file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def append(self, ids: Array | Sequence[int]) -> None:
        """Append ids to the growing array."""
        self._file.write(np.asarray(ids, dtype="<i4").tobytes())
        self._count += len(ids)

    def commit(
        self,
        arrays: Mapping[str, Array],
        meta: Mapping[str, Any],
        version: int,
        *,
        opened: Callable[[Path], T],
    ) -> T:
        """Rename the folder to its final name, unless another process has written the same set.

        Args:
            arrays: the other arrays, by name.
            opened: opens a complete folder.
        """
        self._file.seek(0)
        self._write_header()
        self._file.close()
        for name, array in arrays.items():
            np.save(self.folder / f"{name}.npy", array)
        kept = {**meta, "sha256": _sums(self.folder, [self.growing, *arrays])}
        text = json.dumps(json_files.stamp(kept, version), ensure_ascii=False, indent=2)
        (self.folder / META).write_text(text, encoding="utf-8")
        try:
            return opened(self.target)
        except (OSError, ValueError):
            self._move(opened)
        return opened(self.target)

    def _move(self, opened: Callable[[Path], T]) -> None:
        # A folder cannot replace one that has files. So a damaged one is removed first. A complete
        # one that another process has renamed in the meantime is used as it is.
        for _ in range(2):
            try:
                os.rename(self.folder, self.target)
                return
            except OSError:
                if not self.target.is_dir():
                    raise
                try:
                    opened(self.target)
                    return
                except (OSError, ValueError):
                    shutil.rmtree(self.target, ignore_errors=True)
        raise OSError(f"{self.target} cannot be replaced")

    def _write_header(self) -> None:
        # NumPy pads a header so that its first axis may grow to any length in place.
        shape = {"descr": "<i4", "fortran_order": False, "shape": (self._count,)}
        np.lib.format.write_array_header_1_0(self._file, shape)


def _sums(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of each array, which takes 0.02 s for the ids of 52,000 rows."""
    files = [folder / f"{name}.npy" for name in names]
    hashes = hashing.sha256_of_all(files, cache=folder.parents[1])
    return dict(zip(names, hashes, strict=True))


def _remove_abandoned(folder: Path) -> None:
    for draft in folder.glob(f"{_DRAFT}*"):
        try:
            abandoned = time.time() - draft.stat().st_mtime > _ABANDONED_SECONDS
        except FileNotFoundError:  # renamed in this moment
            continue
        if abandoned:
            shutil.rmtree(draft, ignore_errors=True)
