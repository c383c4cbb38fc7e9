"""Token ids of whole sets on disk: written once beside their place, moved in, and then mapped.

ids.npy      int32  every prompt (BOS first) and response (EOS last), one after the other
starts.npy   int64  where each example starts in ids, and where the last one ends
prompts.npy  int32  how many of an example's ids are its prompt
rows.npy     int64  which source row it came from
meta.json           how many rows were read, and which were left out; SHA-256 of the other files
"""

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anima_exp import file_hashes, json_text, schema_version

META = "meta.json"
_ARRAYS = ("ids", "starts", "prompts", "rows")
_SHOWN = 5  # places kept of rows that were left out
_DRAFT = ".draft-"
_ABANDONED_SECONDS = 24 * 3600  # nothing takes a day to tokenise: its process was killed


@dataclass
class Meta:
    """What became of the source's rows."""

    read: int = 0
    skipped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # why, and how often
    shown: list[str] = field(default_factory=list)  # the first few, each with file and row
    ends: int = 0  # examples whose text opened with BOS or closed with EOS itself
    spelled: int = 0  # examples whose text spells a special token, which stays text
    first_spelled: str = ""  # the first of them: file, row and token
    unread: dict[str, int] = field(default_factory=dict)  # column -> rows that fill it in vain

    def leave_out(self, place: str, reason: str) -> None:
        self.skipped += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if len(self.shown) < _SHOWN:
            self.shown.append(f"{place}: {reason}")


@dataclass(frozen=True)
class Tokens:
    """Every example of a source, untruncated. N examples, T ids in all."""

    folder: Path
    ids: npt.NDArray[np.int32]  # [T]
    starts: npt.NDArray[np.int64]  # [N + 1]
    prompts: npt.NDArray[np.int32]  # [N]
    rows: npt.NDArray[np.int64]  # [N]
    meta: Meta

    def __len__(self) -> int:
        return len(self.prompts)

    def __reduce__(self) -> tuple[Any, ...]:
        # A spawned data loader maps the files again; else it would be sent every id.
        return open_tokens, (self.folder,)

    def prompt(self, example: int) -> npt.NDArray[np.int32]:
        start = self.starts[example]
        return self.ids[start : start + self.prompts[example]]

    def response(self, example: int) -> npt.NDArray[np.int32]:
        return self.ids[self.starts[example] + self.prompts[example] : self.starts[example + 1]]


def open_tokens(folder: Path) -> Tokens:
    """The tokens kept in a folder.

    Raises:
        OSError, ValueError: the folder is missing or damaged.
        NewerFile: a later version of anima-exp wrote it.
    """
    file = folder / META
    try:
        kept = schema_version.read(json_text.read_table(file), file, schema_version.TOKENS)
        sums = kept.pop("sha256", None)  # sets of earlier versions have none
        meta = Meta(**kept)
        ids, starts, prompts, rows = (
            np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS
        )
        if sums is not None and sums != _sums(folder):
            raise ValueError("its bytes have changed")
    except (TypeError, EOFError) as error:
        raise ValueError(f"{folder}: {error}") from error
    if not len(starts) - 1 == len(prompts) == len(rows) or starts[-1] != len(ids):
        raise ValueError(f"{folder}: its files do not belong together")
    return Tokens(folder, ids, starts, prompts, rows, meta)


class Draft:
    """A folder of tokens being written, under a name that nobody looks for.

    The ids go to disk as they come; a set of 700,000 rows need not fit in memory twice.
    """

    def __init__(self, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(place.parent)
        self.place = place
        self.folder = place.with_name(f"{_DRAFT}{secrets.token_hex(8)}")
        self.folder.mkdir()  # not mkdtemp, whose folders only their owner may read
        self.meta = Meta()
        self._ids = (self.folder / "ids.npy").open("wb")
        self._starts = [0]
        self._prompts: list[int] = []
        self._rows: list[int] = []
        self._write_header()

    def __enter__(self) -> "Draft":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # on a full disk, which has raised an error already
            self._ids.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __len__(self) -> int:
        return len(self._prompts)

    def add(self, examples: Iterable[tuple[int, list[int], list[int]]]) -> None:
        """(source row, prompt ids, response ids) of one example after the other."""
        flat: list[int] = []
        for row, prompt, response in examples:
            flat += prompt
            flat += response
            self._rows.append(row)
            self._prompts.append(len(prompt))
            self._starts.append(self._starts[-1] + len(prompt) + len(response))
        self._ids.write(np.array(flat, dtype="<i4").tobytes())

    def publish(self) -> Tokens:
        """Move the draft into its place, unless another process was faster."""
        self._ids.seek(0)
        self._write_header()
        self._ids.close()
        np.save(self.folder / "starts.npy", np.array(self._starts, dtype=np.int64))
        np.save(self.folder / "prompts.npy", np.array(self._prompts, dtype=np.int32))
        np.save(self.folder / "rows.npy", np.array(self._rows, dtype=np.int64))
        kept = {**asdict(self.meta), "sha256": _sums(self.folder)}
        kept = schema_version.stamp(kept, schema_version.TOKENS)
        meta = json.dumps(kept, ensure_ascii=False, indent=2)
        (self.folder / META).write_text(meta, encoding="utf-8")
        try:
            return open_tokens(self.place)
        except (OSError, ValueError):
            self._move()
        return open_tokens(self.place)

    def _move(self) -> None:
        # A folder cannot be moved onto one that has files: a damaged one goes first, and a whole
        # one that arrives in that moment is as good as ours.
        for _ in range(2):
            try:
                os.rename(self.folder, self.place)
                return
            except OSError:
                if not self.place.is_dir():
                    raise
                try:
                    open_tokens(self.place)
                    return
                except (OSError, ValueError):
                    shutil.rmtree(self.place, ignore_errors=True)
        raise OSError(f"{self.place} cannot be replaced")

    def _write_header(self) -> None:
        # NumPy pads a header so that its first axis may grow to any length in place.
        shape = {"descr": "<i4", "fortran_order": False, "shape": (self._starts[-1],)}
        np.lib.format.write_array_header_1_0(self._ids, shape)


def _sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of each array; hashing takes 0.02 s for the ids of 52,000 rows."""
    files = [folder / f"{name}.npy" for name in _ARRAYS]
    hashes = file_hashes.sha256_of_all(files, cache=folder.parents[1])
    return dict(zip(_ARRAYS, hashes, strict=True))


def _remove_abandoned(folder: Path) -> None:
    for draft in folder.glob(f"{_DRAFT}*"):
        try:
            abandoned = time.time() - draft.stat().st_mtime > _ABANDONED_SECONDS
        except FileNotFoundError:  # published in this moment
            continue
        if abandoned:
            shutil.rmtree(draft, ignore_errors=True)
