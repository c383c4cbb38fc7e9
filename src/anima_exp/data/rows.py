"""Serve the rows of a data set as ids and labels to a trainer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from anima_exp.data import encode
from anima_exp.data.encode import TruncationLimits
from anima_exp.data.orders import Order
from anima_exp.data.token_cache import Tokens

Int32Array = npt.NDArray[np.int32]


class TokenizedDataset(ABC):
    """Rows of a data set as `input_ids` and `labels`, with their lengths as arrays."""

    order: Order  # the rows of the source's tokens, in this order

    def __len__(self) -> int:
        return len(self.order)

    @abstractmethod
    def with_order(self, order: Order) -> Self:
        """Return other rows of the same tokens, which may contain a row several times."""

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, npt.NDArray[np.int64]]:
        """Return `input_ids` and `labels` of a row, both `[T]`."""

    @property
    @abstractmethod
    def lengths(self) -> Int32Array:
        """The tokens of each row, `[N]`."""

    @property
    @abstractmethod
    def label_counts(self) -> Int32Array:
        """The tokens of each row that the loss is computed on, `[N]`.

        Nothing predicts the first token of a row.
        """

    @property
    @abstractmethod
    def full_prompt_lengths(self) -> Int32Array:
        """The tokens before the last answer of each row, before truncation, `[N]`."""

    @property
    @abstractmethod
    def cache_key(self) -> str:
        """The key of the cached token ids, which covers all that they depend on."""

    @property
    @abstractmethod
    def total(self) -> int:
        """How many rows the source has, of which these are a part."""

    @abstractmethod
    def source_row(self, index: int) -> int:
        """Return the number of the source row that a row came from."""

    @abstractmethod
    def questions(self, index: int) -> "list[QuestionIds]":
        """Return the questions of a row to the model, and the reference answers."""

    @abstractmethod
    def hashes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return a hash of each row without its last answer, and of the whole row, both `[N]`."""

    def prompt_ids(self, index: int) -> npt.NDArray[np.int64]:
        """Return the prompt of the last answer as the model sees it, with BOS."""
        return self.questions(index)[-1].prompt

    def response_ids(self, index: int) -> npt.NDArray[np.int64]:
        """Return the last answer, complete and without the token that ends it."""
        return self.questions(index)[-1].response


@dataclass(frozen=True)
class QuestionIds:
    """A prompt and its reference answer, without the token that ends it."""

    prompt: npt.NDArray[np.int64]
    response: npt.NDArray[np.int64]
    turn: int = 1  # its number in the conversation, from 1


class CachedRows(Protocol):
    """The token ids of a source in the cache."""

    @property
    def folder(self) -> Path: ...

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """The source row of each, ascending."""

    def __len__(self) -> int: ...


Cached = TypeVar("Cached", bound=CachedRows)


class CachedDataset(TokenizedDataset, Generic[Cached]):
    """Rows of one set in the cache."""

    tokens: Cached

    @property
    def cache_key(self) -> str:
        return self.tokens.folder.name

    @property
    def total(self) -> int:
        return len(self.tokens)

    def source_row(self, index: int) -> int:
        return int(self.tokens.rows[self.order[index]])


class ExampleDataset(CachedDataset[Tokens]):
    """Prompts and responses as rows. Both are truncated to the limits of `data`."""

    def __init__(self, tokens: Tokens, order: Order, limits: TruncationLimits) -> None:
        self.tokens = tokens
        self.order = order
        self.limits = limits

    def __getitem__(self, index: int) -> dict[str, npt.NDArray[np.int64]]:
        example = self.order[index]
        prompt, response = self.tokens.prompt(example), self.tokens.response(example)
        ids, labels = encode.encode(prompt, response, self.limits)
        return {"input_ids": ids, "labels": labels}

    def with_order(self, order: Order) -> Self:
        return type(self)(self.tokens, order, self.limits)

    def questions(self, index: int) -> list[QuestionIds]:
        """Return the prompt, at most data.max_prompt_tokens of it, and the complete response."""
        prompt = self.tokens.prompt(self.order[index])[: self.limits.max_prompt]
        response = self.tokens.response(self.order[index])[:-1]
        return [QuestionIds(prompt.astype(np.int64), response.astype(np.int64))]

    def hashes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        prompts, pairs = np.empty((2, len(self)), dtype=np.int64)
        for i, example in enumerate(self.order):
            prompt = self.tokens.prompt(example).tobytes()
            prompts[i] = hash(prompt)
            pairs[i] = hash((prompt, self.tokens.response(example).tobytes()))
        return prompts, pairs

    @cached_property
    def full_prompt_lengths(self) -> Int32Array:
        """The tokens of each prompt before truncation, BOS included, `[N]`."""
        return np.asarray(self.tokens.prompts[self.order])

    @cached_property
    def full_response_lengths(self) -> Int32Array:
        """The tokens of each response before truncation, EOS included, `[N]`."""
        examples = np.diff(self.tokens.starts)[self.order]
        return (examples - self.full_prompt_lengths).astype(np.int32)

    @cached_property
    def lengths(self) -> Int32Array:
        """The tokens of each row after truncation, `[N]`."""
        prompts = np.minimum(self.full_prompt_lengths, self.limits.max_prompt)
        responses = np.minimum(self.full_response_lengths, self.limits.max_response)
        return (prompts + responses).astype(np.int32)

    @cached_property
    def label_counts(self) -> Int32Array:
        """The tokens of each row that the loss is computed on, `[N]`.

        Nothing predicts the first token of a row.
        """
        counts = self.lengths.copy()
        if not self.limits.train_on_source:
            counts -= np.minimum(self.full_prompt_lengths, self.limits.max_prompt)
            counts -= self.full_prompt_lengths == 0
        else:
            counts -= 1
        return counts
