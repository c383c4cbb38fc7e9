"""Serve the rows of several data sets as one, each part in the share that the weights give it."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from anima_exp.config import MixBy, MixSize
from anima_exp.data.orders import Order
from anima_exp.data.rows import Int32Array, QuestionIds, TokenizedDataset


def amounts(
    available: Mapping[str, int],
    weights: Mapping[str, float] | None,
    *,
    size: MixSize | None,
    total: int | None,
) -> dict[str, float]:
    """Return how many rows or tokens of each part an epoch has.

    Args:
        available: the rows or tokens of each part.
        weights: the weight of each part; None: each row is used once.
        total: rows or tokens of the epoch, in place of `size`.
    """
    shares = {name: float(count) for name, count in available.items()}
    if weights is not None:
        shares = dict(weights)
    if total is not None:
        unit = total / sum(shares.values())
    else:
        units = [available[name] / share for name, share in shares.items()]
        unit = min(units) if size is MixSize.smallest else max(units)
    return {name: share * unit for name, share in shares.items()}


def taken(lengths: Int32Array, amount: float, by: MixBy) -> Order:
    """Return the numbers of a part's rows for `amount` rows or tokens: whole passes and a rest.

    The rest are the first rows, whose order is random already. At least one row is returned.
    """
    count = len(lengths)
    if by is MixBy.rows:
        passes, rest = divmod(round(amount), count)
    else:
        ends = np.cumsum(lengths, dtype=np.int64)
        whole = int(ends[-1])
        passes = int(amount // whole)
        left = amount - passes * whole
        rest = int(np.abs(np.concatenate([[0], ends]) - left).argmin())  # the nearest
    numbers = np.arange(count)
    chosen = np.concatenate([np.tile(numbers, passes), numbers[:rest]])
    return chosen if len(chosen) else numbers[:1]


class MixedDataset(TokenizedDataset):
    """The rows of several data sets, one after the other unless another order is given."""

    def __init__(self, parts: Mapping[str, TokenizedDataset], order: Order | None = None) -> None:
        self.parts = dict(parts)
        self._names = list(self.parts)
        self._starts = np.cumsum([0, *map(len, self.parts.values())])
        self.order = np.arange(self._starts[-1]) if order is None else order

    def with_order(self, order: Order) -> Self:
        return type(self)(self.parts, order)

    @classmethod
    def in_turn(cls, parts: Mapping[str, TokenizedDataset]) -> Self:
        """Return the parts with their rows in turn, so that the first rows are of all parts."""
        counts = [len(part) for part in parts.values()]
        within = np.concatenate([np.arange(0), *map(np.arange, counts)])
        part = np.repeat(np.arange(len(counts)), counts)
        return cls(parts, np.lexsort((part, within)))

    def __getitem__(self, index: int) -> dict[str, npt.NDArray[np.int64]]:
        _, part, row = self.place(index)
        return part[row]

    def place(self, index: int) -> tuple[str, TokenizedDataset, int]:
        """Return the name of a row's part, the part, and the number of the row in it."""
        at = int(self.order[index])
        number = int(np.searchsorted(self._starts, at, side="right")) - 1
        name = self._names[number]
        return name, self.parts[name], at - int(self._starts[number])

    def numbers_of(self, name: str) -> Order:
        """Return the numbers of a part's rows here, ascending."""
        start, end = self._starts[self._names.index(name) :][:2]
        return np.flatnonzero((self.order >= start) & (self.order < end))

    @property
    def cache_key(self) -> str:
        digest = hashlib.sha256()
        for name, part in self.parts.items():
            digest.update(f"{name} {part.cache_key} ".encode())
            digest.update(np.ascontiguousarray(part.order, dtype="<i8").tobytes())
        return digest.hexdigest()[:32]

    @property
    def total(self) -> int:
        return sum(part.total for part in self.parts.values())

    def source_row(self, index: int) -> int:
        _, part, row = self.place(index)
        return part.source_row(row)

    def questions(self, index: int) -> list[QuestionIds]:
        _, part, row = self.place(index)
        return part.questions(row)

    def hashes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        pairs = [part.hashes() for part in self.parts.values()]
        prompts, rows = (np.concatenate(one)[self.order] for one in zip(*pairs, strict=True))
        return prompts, rows

    @cached_property
    def lengths(self) -> Int32Array:
        return self._joined(lambda part: part.lengths)

    @cached_property
    def label_counts(self) -> Int32Array:
        return self._joined(lambda part: part.label_counts)

    @cached_property
    def full_prompt_lengths(self) -> Int32Array:
        return self._joined(lambda part: part.full_prompt_lengths)

    def _joined(self, values: Callable[[TokenizedDataset], Int32Array]) -> Int32Array:
        return np.concatenate([values(part) for part in self.parts.values()])[self.order]
