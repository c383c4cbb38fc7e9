"""Serve conversations as rows of ids and labels to a trainer."""

from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from anima_exp.data.chat.masked_tokens import MaskedTokens
from anima_exp.data.chat.segments import Kind, Segment
from anima_exp.data.encode import IGNORE
from anima_exp.data.orders import Order
from anima_exp.data.rows import CachedDataset, Int32Array, QuestionIds


class ChatDataset(CachedDataset[MaskedTokens]):
    """Conversations as rows of ids. Each trained answer ends with the token that ends it."""

    def __init__(self, tokens: MaskedTokens, order: Order) -> None:
        self.tokens = tokens
        self.order = order

    def __getitem__(self, index: int) -> dict[str, npt.NDArray[np.int64]]:
        ids = self.tokens.row(self.order[index]).astype(np.int64)
        labels = np.full_like(ids, IGNORE)
        for one in self.segments(index):
            if one.kind.is_trained:
                labels[one.start : one.end] = ids[one.start : one.end]
        return {"input_ids": ids, "labels": labels}

    def with_order(self, order: Order) -> Self:
        return type(self)(self.tokens, order)

    def segments(self, index: int) -> list[Segment]:
        """Return the segments of a row, which cover it without a gap."""
        return self.tokens.segments(self.order[index])

    def questions(self, index: int) -> list[QuestionIds]:
        """Return each trained answer with everything before it.

        A row of raw text is one answer to its first token.
        """
        row = self.order[index]
        ids = self.tokens.row(row).astype(np.int64)
        answers = self._answers(row)
        if not answers:
            return [QuestionIds(ids[:1], ids[1:])]
        return [
            QuestionIds(ids[: one.start], ids[one.start : one.end - 1], one.turn) for one in answers
        ]

    def _answers(self, row: int) -> list[Segment]:
        return [one for one in self.tokens.segments(row) if one.kind is Kind.assistant]

    def hashes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        prompts, rows = np.empty((2, len(self)), dtype=np.int64)
        for i, row in enumerate(self.order):
            ids = self.tokens.row(row)
            prompts[i] = hash(ids[: self.full_prompt_lengths[i]].tobytes())
            rows[i] = hash(ids.tobytes())
        return prompts, rows

    @cached_property
    def lengths(self) -> Int32Array:
        """The tokens of each row, `[N]`."""
        return np.diff(self.tokens.starts)[self.order].astype(np.int32)

    @cached_property
    def label_counts(self) -> Int32Array:
        """The tokens of each row that the loss is computed on, `[N]`.

        Nothing predicts the first token of a row.
        """
        table = self.tokens_by_kind
        counts = table[:, [kind for kind in Kind if kind.is_trained]].sum(axis=1)
        counts -= table[:, Kind.text] == self.lengths
        return np.asarray(counts, dtype=np.int32)

    @cached_property
    def full_prompt_lengths(self) -> Int32Array:
        """The tokens before the last answer of each row, `[N]`."""
        return np.array(
            [
                next((s.start for s in reversed(parts) if s.kind is Kind.assistant), 0)
                for parts in map(self.segments, range(len(self)))
            ],
            dtype=np.int32,
        )

    @cached_property
    def tokens_by_kind(self) -> npt.NDArray[np.int64]:
        """The tokens of each row by the kind of their segment, `[N, kinds]`."""
        return self.tokens.tokens_by_kind(self.order)
