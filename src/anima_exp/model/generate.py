"""Prompts as token ids -> the model's answers as text, many at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from anima_exp.config import Precision
from anima_exp.model.base import autocast
from anima_exp.model.decode import decode
from anima_exp.model.sampling import Sampling


@contextmanager
def inference(model: Any, precision: Precision) -> Iterator[None]:
    """Evaluation mode, no gradients, products in `precision`; the mode before is restored."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), autocast(model.device, precision):
            yield
    finally:
        model.train(training)


def greedy(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int,
) -> list[str]:
    """The most likely continuation of each prompt, up to its end-of-sequence token.

    Prompts of similar length are batched. Call inside `inference`.

    Raises:
        ModelError: a prompt leaves no room in the model's context.
    """
    how = Sampling(max_new_tokens)
    answers = [""] * len(prompts)
    by_length = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    for start in range(0, len(prompts), batch_size):
        chosen = by_length[start : start + batch_size]
        found = decode(model, tokenizer, [prompts[number] for number in chosen], how)
        for number, answer in zip(chosen, found, strict=True):
            answers[number] = answer.text
    return answers
