"""Prompts as token ids -> the model's answers as text, many at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from anima_exp.config import Precision
from anima_exp.model.base import DTYPES


@contextmanager
def inference(model: Any, precision: Precision) -> Iterator[None]:
    """Evaluation mode, no gradients, products in `precision`; the mode before is restored."""
    training = model.training
    model.eval()
    autocast = torch.autocast(
        model.device.type, dtype=DTYPES[precision], enabled=precision is not Precision.fp32
    )
    try:
        with torch.no_grad(), autocast:
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

    Prompts of similar length are batched, padded on the left so that every answer begins at once.
    Call inside `inference`.
    """
    from transformers import GenerationConfig

    how = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        use_cache=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    answers = [""] * len(prompts)
    by_length = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    for start in range(0, len(prompts), batch_size):
        chosen = by_length[start : start + batch_size]
        ids, mask = _left_padded([prompts[number] for number in chosen], tokenizer.pad_token_id)
        with _no_habits(model):
            out = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                generation_config=how,
            )
        for number, row in zip(chosen, out[:, ids.shape[1] :], strict=True):
            answers[number] = tokenizer.decode(row, skip_special_tokens=True)
    return answers


@contextmanager
def _no_habits(model: Any) -> Iterator[None]:
    """Without the base's own generation_config, whose values would fill what ours leaves open."""
    from transformers import GenerationConfig

    holders = [model, model.get_base_model()] if hasattr(model, "get_base_model") else [model]
    before = [holder.generation_config for holder in holders]
    for holder in holders:
        holder.generation_config = GenerationConfig()
    try:
        yield
    finally:
        for holder, habits in zip(holders, before, strict=True):
            holder.generation_config = habits


def _left_padded(prompts: list[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(prompts), longest), dtype=torch.long)
    for number, prompt in enumerate(prompts):
        ids[number, longest - len(prompt) :] = torch.as_tensor(prompt, dtype=torch.long)
        mask[number, longest - len(prompt) :] = 1
    return ids, mask
