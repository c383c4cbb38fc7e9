"""Store the rows of conversations on disk, and map them into memory.

ids.npy             int32  the ids of every row, one after the other
starts.npy          int64  where each row starts in ids, and where the last one ends
rows.npy            int64  which source row it came from
segments.npy        int32  [S, 4]: the end of each segment in its row, its kind, message and turn
segment_starts.npy  int64  where the segments of each row start, and where the last ones end
read.npy            int64  the numbers of all source rows, those without a row here included
meta.json                  statistics of what was read; SHA-256 of the other files
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from anima_exp.config import DataConfig
from anima_exp.data.array_folder import ArrayFolder, open_arrays
from anima_exp.data.chat.segments import Kind, Segment
from anima_exp.data.chat.templates import ChatTemplate
from anima_exp.data.token_cache import Meta, code_of, meta_of
from anima_exp.system import json_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ARRAYS = ("ids", "starts", "rows", "segments", "segment_starts", "read")
# Raise it when the layout of the files changes, or when this package reads or renders some
# conversation in another way. It stands for the code of data/chat in the key.
_FORMAT = 1


@dataclass(frozen=True)
class MaskedTokens:
    """The rows of all conversations of a source: N rows, T ids, S segments."""

    folder: Path
    ids: npt.NDArray[np.int32]  # [T]
    starts: npt.NDArray[np.int64]  # [N + 1]
    rows: npt.NDArray[np.int64]  # [N]
    _segments: npt.NDArray[np.int32]  # [S, 4]
    _segment_starts: npt.NDArray[np.int64]  # [N + 1]
    read: npt.NDArray[np.int64]  # ascending
    meta: Meta

    def __len__(self) -> int:
        return len(self.rows)

    def __reduce__(self) -> tuple[Any, ...]:
        # A spawned process maps the files again instead of receiving a copy of every id.
        return open_masked_tokens, (self.folder,)

    def row(self, number: int) -> npt.NDArray[np.int32]:
        """Return the ids of a row."""
        return self.ids[self.starts[number] : self.starts[number + 1]]

    def segments(self, number: int) -> list[Segment]:
        """Return the segments of a row, which cover it without a gap."""
        part = self._segments[self._segment_starts[number] : self._segment_starts[number + 1]]
        start, found = 0, []
        for end, kind, message, turn in part.tolist():
            found.append(Segment(start, end, Kind(kind), message, turn))
            start = end
        return found

    def tokens_by_kind(self, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return how many ids of each kind the chosen rows have, `[len(chosen), kinds]`."""
        ends, kinds = self._segments[:, :2].T.astype(np.int64)
        of_row = np.repeat(np.arange(len(self)), np.diff(self._segment_starts))
        first = np.zeros(len(ends), dtype=bool)
        first[self._segment_starts[:-1]] = True
        starts = np.where(first, 0, np.roll(ends, 1))
        table = np.zeros((len(self), len(Kind)), dtype=np.int64)
        np.add.at(table, (of_row, kinds), ends - starts)
        return table[chosen]

    def answer_counts(self, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return how many trained answers each of the chosen rows has."""
        of_row = np.repeat(np.arange(len(self)), np.diff(self._segment_starts))
        trained = self._segments[:, 1] == Kind.assistant
        return np.bincount(of_row[trained], minlength=len(self))[chosen]


def open_masked_tokens(folder: Path) -> MaskedTokens:
    """Open the rows in a folder.

    Raises:
        OSError, ValueError: if the folder is missing or damaged.
        NewerFileError: if a later version of anima-exp wrote it.
    """
    kept, arrays = open_arrays(folder, _ARRAYS, json_files.MASKED_TOKENS)
    ids, starts, rows, segments, segment_starts, read = arrays
    meta = meta_of(kept, folder)
    fits = len(starts) - 1 == len(rows) == len(segment_starts) - 1 and starts[-1] == len(ids)
    if not fits or segment_starts[-1] != len(segments) or segments.shape[1:] != (4,):
        raise ValueError(f"{folder}: its files do not belong together")
    return MaskedTokens(folder, ids, starts, rows, segments, segment_starts, read, meta)


class MaskedTokenWriter:
    """Write rows to a temporary folder, and rename it when all are written."""

    def __init__(self, target: Path) -> None:
        self.meta = Meta()
        self._folder = ArrayFolder(target)
        self._starts, self._segment_starts = [0], [0]
        self._rows: list[int] = []
        self._read: list[int] = []
        self._segments: list[tuple[int, int, int, int]] = []

    def __enter__(self) -> "MaskedTokenWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.close()

    def __len__(self) -> int:
        return len(self._rows)

    def add(
        self, source_row: int, rows: Iterable[tuple[npt.NDArray[np.int32], Sequence[Segment]]]
    ) -> None:
        """Add the ids and segments of all rows of one source row. There may be none."""
        self._read.append(source_row)
        for ids, segments in rows:
            self._folder.append(ids)
            self._starts.append(self._starts[-1] + len(ids))
            self._rows.append(source_row)
            self._segments += [(one.end, one.kind, one.message, one.turn) for one in segments]
            self._segment_starts.append(len(self._segments))

    def count(self, counts: Counter[str]) -> None:
        """Add to the statistics of conversations."""
        self.meta.chat = dict(Counter(self.meta.chat) + counts)

    def commit(self) -> MaskedTokens:
        """Rename the folder to its final name, unless another process has written the same set."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "starts": np.array(self._starts, dtype=np.int64),
            "rows": np.array(self._rows, dtype=np.int64),
            "segments": np.array(self._segments, dtype=np.int32).reshape(-1, 4),
            "segment_starts": np.array(self._segment_starts, dtype=np.int64),
            "read": np.unique(np.array(self._read, dtype=np.int64)),
        }
        return self._folder.commit(
            arrays, asdict(self.meta), json_files.MASKED_TOKENS, opened=open_masked_tokens
        )


def key(
    fingerprint: str,
    recipe: Callable[..., Any],
    config: DataConfig,
    template: ChatTemplate,
    tokenizer: "PreTrainedTokenizerBase",
    stops: Iterable[int],
) -> str:
    """Return the cache key, 32 hexadecimal digits, of conversations that were tokenized.

    Args:
        fingerprint: that of the source rows.
    """
    parts = [
        _FORMAT,
        fingerprint,
        *code_of(recipe, config.recipe),
        template.fingerprint,
        tokenizer.backend_tokenizer.to_str(),
        [tokenizer.bos_token_id, tokenizer.eos_token_id, *sorted(stops)],
        sorted(map(str, tokenizer.special_tokens_map.items())),  # a template may write any of them
        [config.train_on.value, config.thinking.value],
        [config.max_tokens, config.too_long.value, config.special_tokens_in_text.value],
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
