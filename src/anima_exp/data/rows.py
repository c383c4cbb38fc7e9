"""Tokens, a choice of examples and the limits -> rows a trainer can index, with their lengths."""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from anima_exp.data import encode
from anima_exp.data.encode import Limits
from anima_exp.data.split import Order
from anima_exp.data.tokens import Tokens

Counted = npt.NDArray[np.int32]


class TokenRows:
    """len(rows), rows[i] -> input_ids and labels. What is measured is measured for all at once."""

    def __init__(self, tokens: Tokens, order: Order, limits: Limits) -> None:
        self.tokens = tokens
        self.order = order  # which examples of `tokens`, and in which order
        self.limits = limits

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> dict[str, npt.NDArray[np.int64]]:
        example = self.order[index]
        prompt, response = self.tokens.prompt(example), self.tokens.response(example)
        ids, labels = encode.encode(prompt, response, self.limits)
        return {"input_ids": ids, "labels": labels}

    def prompt_ids(self, index: int) -> npt.NDArray[np.int64]:
        """The prompt as the model sees it: BOS first, cut at data.max_prompt_tokens."""
        prompt = self.tokens.prompt(self.order[index])[: self.limits.max_prompt]
        return prompt.astype(np.int64)

    def response_ids(self, index: int) -> npt.NDArray[np.int64]:
        """The whole response without its EOS: the answer to compare with."""
        return self.tokens.response(self.order[index])[:-1].astype(np.int64)

    @cached_property
    def full_prompt_lengths(self) -> Counted:
        """[N] before truncation, BOS included."""
        return np.asarray(self.tokens.prompts[self.order])

    @cached_property
    def full_response_lengths(self) -> Counted:
        """[N] before truncation, EOS included."""
        whole = np.diff(self.tokens.starts)[self.order]
        return (whole - self.full_prompt_lengths).astype(np.int32)

    @cached_property
    def lengths(self) -> Counted:
        """[N] tokens of each row, as truncated."""
        prompts = np.minimum(self.full_prompt_lengths, self.limits.max_prompt)
        responses = np.minimum(self.full_response_lengths, self.limits.max_response)
        return (prompts + responses).astype(np.int32)

    @cached_property
    def label_counts(self) -> Counted:
        """[N] tokens that the loss is taken on. Nothing predicts a row's first token."""
        counts = self.lengths.copy()
        if not self.limits.train_on_source:
            counts -= np.minimum(self.full_prompt_lengths, self.limits.max_prompt)
            counts -= self.full_prompt_lengths == 0
        else:
            counts -= 1
        return counts
