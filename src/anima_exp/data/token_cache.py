"""Store the token ids of a data set on disk, and map them into memory.

A set is written to a temporary folder, which is then renamed, so a set is complete or absent.

ids.npy      int32  every prompt (BOS first) and response (EOS last), one after the other
starts.npy   int64  where each example starts in ids, and where the last one ends
prompts.npy  int32  how many of an example's ids are its prompt
rows.npy     int64  which source row it came from
meta.json           how many rows were read, and which were left out; SHA-256 of the other files
"""

import hashlib
import inspect
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import anima_exp
from anima_exp.data.encode import special_ids
from anima_exp.system import hashing, json_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

META = "meta.json"
_ARRAYS = ("ids", "starts", "prompts", "rows")
_SHOWN = 5  # skipped rows whose positions are kept
_DRAFT = ".draft-"
_ABANDONED_SECONDS = 24 * 3600  # nothing takes a day to tokenize: its process was killed


@dataclass
class Meta:
    """Statistics of the rows that were read."""

    read: int = 0
    skipped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # how often rows were skipped, by reason
    shown: list[str] = field(default_factory=list)  # the first skipped rows, with file and number
    ends: int = 0  # examples whose text began with BOS or ended with EOS
    spelled: int = 0  # examples that contain a special token as text
    first_spelled: str = ""  # the first of them: file, row and token
    unread: dict[str, int] = field(default_factory=dict)  # rows with content, by unread column

    def record_skipped(self, location: str, reason: str) -> None:
        """Count a skipped row."""
        self.skipped += 1
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if len(self.shown) < _SHOWN:
            self.shown.append(f"{location}: {reason}")


@dataclass(frozen=True)
class Tokens:
    """The token ids of all N examples of a source, T in total, before truncation."""

    folder: Path
    ids: npt.NDArray[np.int32]  # [T]
    starts: npt.NDArray[np.int64]  # [N + 1]
    prompts: npt.NDArray[np.int32]  # [N]
    rows: npt.NDArray[np.int64]  # [N]
    meta: Meta

    def __len__(self) -> int:
        return len(self.prompts)

    def __reduce__(self) -> tuple[Any, ...]:
        # A spawned process maps the files again instead of receiving a copy of every id.
        return open_tokens, (self.folder,)

    def prompt(self, example: int) -> npt.NDArray[np.int32]:
        """Return the ids of a prompt, BOS first."""
        start = self.starts[example]
        return self.ids[start : start + self.prompts[example]]

    def response(self, example: int) -> npt.NDArray[np.int32]:
        """Return the ids of a response, EOS last."""
        return self.ids[self.starts[example] + self.prompts[example] : self.starts[example + 1]]


def open_tokens(folder: Path) -> Tokens:
    """Open the token ids in a folder.

    Raises:
        OSError, ValueError: if the folder is missing or damaged.
        NewerFileError: if a later version of anima-exp wrote it.
    """
    file = folder / META
    try:
        kept = json_files.read_versioned(json_files.read_table(file), file, json_files.TOKENS)
        sums = kept.pop("sha256", None)  # the first version stored none
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


class TokenWriter:
    """Write token ids to a temporary folder, and rename it when all are written.

    The ids go to the disk as they come, so a set of 700,000 rows need not fit into memory twice.
    """

    def __init__(self, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        self.target = target
        self.folder = target.with_name(f"{_DRAFT}{secrets.token_hex(8)}")
        self.folder.mkdir()  # mkdtemp would create a folder that only its owner may read
        self.meta = Meta()
        self._ids = (self.folder / "ids.npy").open("wb")
        self._starts = [0]
        self._prompts: list[int] = []
        self._rows: list[int] = []
        self._write_header()

    def __enter__(self) -> "TokenWriter":
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

    def commit(self) -> Tokens:
        """Rename the folder to its final name, unless another process has written the same set."""
        self._ids.seek(0)
        self._write_header()
        self._ids.close()
        np.save(self.folder / "starts.npy", np.array(self._starts, dtype=np.int64))
        np.save(self.folder / "prompts.npy", np.array(self._prompts, dtype=np.int32))
        np.save(self.folder / "rows.npy", np.array(self._rows, dtype=np.int64))
        kept = {**asdict(self.meta), "sha256": _sums(self.folder)}
        kept = json_files.stamp(kept, json_files.TOKENS)
        meta = json.dumps(kept, ensure_ascii=False, indent=2)
        (self.folder / META).write_text(meta, encoding="utf-8")
        try:
            return open_tokens(self.target)
        except (OSError, ValueError):
            self._move()
        return open_tokens(self.target)

    def _move(self) -> None:
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
                    open_tokens(self.target)
                    return
                except (OSError, ValueError):
                    shutil.rmtree(self.target, ignore_errors=True)
        raise OSError(f"{self.target} cannot be replaced")

    def _write_header(self) -> None:
        # NumPy pads a header so that its first axis may grow to any length in place.
        shape = {"descr": "<i4", "fortran_order": False, "shape": (self._starts[-1],)}
        np.lib.format.write_array_header_1_0(self._ids, shape)


def _sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each array, which takes 0.02 s for the ids of 52,000 rows."""
    files = [folder / f"{name}.npy" for name in _ARRAYS]
    hashes = hashing.sha256_of_all(files, cache=folder.parents[1])
    return dict(zip(_ARRAYS, hashes, strict=True))


def _remove_abandoned(folder: Path) -> None:
    for draft in folder.glob(f"{_DRAFT}*"):
        try:
            abandoned = time.time() - draft.stat().st_mtime > _ABANDONED_SECONDS
        except FileNotFoundError:  # renamed in this moment
            continue
        if abandoned:
            shutil.rmtree(draft, ignore_errors=True)


# The key of a set names everything that its ids depend on. A run stores the key and resumes only
# if it is still the same. So an edit of this package must not change a key unless it changes the
# ids of some row.
_FORMAT = 2  # raise it when the files' layout changes, or the ids of some text
# These stand for the shipped recipes and templates. They are the SHA-256 of recipes.py, recipes.py
# and templates.py in version 0.1.0, so that its sets are still used. An edit that changes the
# example of some row must change one of them. tests/data/test_token_key.py fails until it does.
_RECIPES = (
    "7f31ac776a8a2cccbbefb00e07cc4f40014bb1a36bd25dfb32da663a49898a47",
    "b4e8f7f246b70db114cc39187fb8441ef409e587928264b0bc8425123903523d",
    "d156eb6658efde99c6ac0b3b7d5796ddf2d278b2ccaa480141067d4562c49bf6",
)
_PACKAGE = Path(str(anima_exp.__file__)).parent
# Where the shipped recipes stood then. Their names enter the key with it.
_SHIPPED = "anima_exp.data.recipes"


def key(
    fingerprint: str,
    recipe: Callable[..., Any],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    named: str,
) -> str:
    """Return the cache key, 32 hexadecimal digits, of rows read by `recipe` and tokenized.

    Args:
        fingerprint: that of the rows.
        named: data.recipe, which distinguishes two functions that one function has returned.
    """
    name, file = _location(recipe, named)
    shipped = file is not None and _PACKAGE in Path(file).parents
    parts = [
        str(_FORMAT),
        fingerprint,
        tokenizer.backend_tokenizer.to_str(),
        json.dumps(special_ids(tokenizer)),
        f"{_SHIPPED}.{recipe.__qualname__}" if shipped else name,
    ]
    hashes = [_sha256(part) for part in parts]
    code = [*_RECIPES]
    if file and file.endswith(".py") and not shipped:  # in the order of the files' paths
        own = _sha256(Path(file).read_text(encoding="utf-8"))
        code.insert(0 if Path(file) < _PACKAGE / "data" else len(code), own)
    return hashlib.sha256(b"".join(map(bytes.fromhex, hashes + code))).hexdigest()[:32]


def _location(recipe: Callable[..., Any], named: str) -> tuple[str, str | None]:
    """Return the full name of a recipe and the file that defines it."""
    name = getattr(recipe, "__qualname__", None)
    if name and "<" not in name:
        return f"{recipe.__module__}.{name}", getattr(inspect.getmodule(recipe), "__file__", None)
    # A lambda, a function inside a function, or an object: only its dotted path is unique.
    module = find_spec(named.rpartition(".")[0])
    return named, module.origin if module else None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
