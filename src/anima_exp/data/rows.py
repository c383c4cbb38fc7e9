"""Split the examples of a data set, and serve them as rows of ids and labels to a trainer."""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from anima_exp.data import encode
from anima_exp.data.encode import TruncationLimits
from anima_exp.data.token_cache import Tokens
from anima_exp.errors import DataError

Order = npt.NDArray[np.int64]


def split(rows: npt.NDArray[np.int64], *, heldout: int, seed: int) -> tuple[Order, Order]:
    """Split examples into (training, held out), both shuffled.

    The split is that of Dataset.train_test_split with the same seed.

    Args:
        rows: the source row of each example, ascending, `[N]`. All examples of a row stay on one
            side of the split, because they are rewordings of each other.
        heldout: how many source rows to hold out.

    Raises:
        DataError: if nothing would be left to train on.
    """
    _, starts, counts = np.unique(rows, return_index=True, return_counts=True)
    check_heldout(heldout, of=len(starts))
    order = shuffled(len(starts), seed=seed)
    return _examples_of_rows(order[heldout:], starts, counts), _examples_of_rows(
        order[:heldout], starts, counts
    )


def check_heldout(heldout: int, *, of: int) -> None:
    """Raise DataError if nothing would be left to train on."""
    if heldout >= of:
        raise DataError(
            f"data.heldout_rows={heldout} leaves nothing to train on: there "
            + (
                f"are {of} rows. Hold out fewer, for example data.heldout_rows={max(1, of // 10)}."
                if of > 1
                else f"is {of} row. A run with held-out rows needs two rows or more."
            )
        )


def _examples_of_rows(order: Order, starts: Order, counts: Order) -> Order:
    """Return the examples of the source rows in `order`, those of one row next to each other."""
    many = counts[order]
    within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    order = np.repeat(starts[order], many) + within
    return order


def shuffled(count: int, *, seed: int) -> Order:
    """Return a random permutation of `count` numbers."""
    return np.random.default_rng(seed).permutation(count)


def first(order: Order, limit: int | None) -> Order:
    """Return the first `limit` of a shuffled order. A smaller choice is a part of a larger one."""
    return order[:limit]


Int32Array = npt.NDArray[np.int32]


class TokenizedDataset:
    """Examples of a data set as rows of `input_ids` and `labels`, with their lengths as arrays."""

    def __init__(self, tokens: Tokens, order: Order, limits: TruncationLimits) -> None:
        self.tokens = tokens
        self.order = order  # the examples of `tokens`, in this order
        self.limits = limits

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict[str, npt.NDArray[np.int64]]:
        example = self.order[index]
        prompt, response = self.tokens.prompt(example), self.tokens.response(example)
        ids, labels = encode.encode(prompt, response, self.limits)
        return {"input_ids": ids, "labels": labels}

    def prompt_ids(self, index: int) -> npt.NDArray[np.int64]:
        """Return the prompt as the model sees it: BOS first, at most data.max_prompt_tokens."""
        prompt = self.tokens.prompt(self.order[index])[: self.limits.max_prompt]
        return prompt.astype(np.int64)

    def response_ids(self, index: int) -> npt.NDArray[np.int64]:
        """Return the complete response without its EOS, as the reference answer."""
        return self.tokens.response(self.order[index])[:-1].astype(np.int64)

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
