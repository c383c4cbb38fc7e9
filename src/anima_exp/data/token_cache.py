"""Store the token ids of prompts and responses on disk, and map them into memory.

ids.npy      int32  every prompt (BOS first) and response (EOS last), one after the other
starts.npy   int64  where each example starts in ids, and where the last one ends
prompts.npy  int32  how many of an example's ids are its prompt
rows.npy     int64  which source row it came from
meta.json           how many rows were read, and which were left out; SHA-256 of the other files
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

import anima_exp
from anima_exp.data.array_folder import ArrayFolder, open_arrays
from anima_exp.data.encode import special_ids
from anima_exp.system import json_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ARRAYS = ("ids", "starts", "prompts", "rows")
_SHOWN = 5  # skipped rows whose positions are kept


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
    chat: dict[str, int] = field(default_factory=dict)  # of conversations: see chat/counts.py

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
    kept, (ids, starts, prompts, rows) = open_arrays(folder, _ARRAYS, json_files.TOKENS)
    meta = meta_of(kept, folder)
    if not len(starts) - 1 == len(prompts) == len(rows) or starts[-1] != len(ids):
        raise ValueError(f"{folder}: its files do not belong together")
    return Tokens(folder, ids, starts, prompts, rows, meta)


def meta_of(kept: dict[str, Any], folder: Path) -> Meta:
    """Return the statistics in a meta.json.

    Raises:
        ValueError: if it has others.
    """
    try:
        return Meta(**kept)
    except TypeError as error:
        raise ValueError(f"{folder}: {error}") from error


class TokenWriter:
    """Write token ids to a temporary folder, and rename it when all are written."""

    def __init__(self, target: Path) -> None:
        self.meta = Meta()
        self._folder = ArrayFolder(target)
        self._starts = [0]
        self._prompts: list[int] = []
        self._rows: list[int] = []

    def __enter__(self) -> "TokenWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.close()

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
        self._folder.append(flat)

    def commit(self) -> Tokens:
        """Rename the folder to its final name, unless another process has written the same set."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "starts": np.array(self._starts, dtype=np.int64),
            "prompts": np.array(self._prompts, dtype=np.int32),
            "rows": np.array(self._rows, dtype=np.int64),
        }
        return self._folder.commit(arrays, asdict(self.meta), json_files.TOKENS, opened=open_tokens)


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
    shipped = _is_shipped(file)
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


def code_of(recipe: Callable[..., Any], named: str) -> tuple[str, str]:
    """Return the name of a recipe, and the hash of its module if it is a user's own."""
    name, file = _location(recipe, named)
    if file is None or _is_shipped(file) or not file.endswith(".py"):
        return name, ""
    return name, _sha256(Path(file).read_text(encoding="utf-8"))


def _is_shipped(file: str | None) -> bool:
    return file is not None and _PACKAGE in Path(file).parents


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
