"""A and B of LoRA layers -> the same in the type of the products, cast once for a whole step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from anima_exp.libraries.peft_internals import lora_layers, plain_adapter, update_of
from anima_exp.libraries.torch_internals import copy_all


def lora_weights(model: Any) -> list[Tensor]:
    """Return A and B of every LoRA layer that computes with one adapter."""
    return [
        weight
        for _, layer in lora_layers(model)
        if (adapter := plain_adapter(layer)) is not None
        for weight in update_of(layer, adapter)[:2]
    ]


@contextmanager
def cast_once(weights: Sequence[Tensor], dtype: torch.dtype) -> Iterator[None]:
    """Inside, `cast` returns one copy of each weight, however often it is called.

    The weights must not change inside: the copies would be those from before. A second call inside
    copies no weight again.
    """
    others = [
        one
        for one in dict.fromkeys(weights)
        if one.dtype is not dtype and getattr(one, "kept_copy", None) is None
    ]
    copies = _copies(others, dtype)
    try:
        for weight, copy in zip(others, copies, strict=True):
            weight.kept_copy = copy  # type: ignore[attr-defined]
        yield
    finally:
        for weight in others:
            weight.__dict__.pop("kept_copy", None)


def cast(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `weight` in `dtype`, without a gradient."""
    kept: Tensor | None = getattr(weight, "kept_copy", None)
    return kept if kept is not None and kept.dtype is dtype else weight.detach().to(dtype)


def _copies(weights: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Cast all weights of a device by few kernels, into one piece of memory."""
    found: dict[Tensor, Tensor] = {}
    for device in {weight.device for weight in weights}:
        here = [weight for weight in weights if weight.device == device]
        sizes = [weight.numel() for weight in here]
        room = torch.empty(sum(sizes), dtype=dtype, device=device)
        flat = torch.split(room, sizes)
        parts = [part.view(weight.shape) for part, weight in zip(flat, here, strict=True)]
        copy_all(parts, [weight.detach() for weight in here])
        found |= zip(here, parts, strict=True)
    return [found[weight] for weight in weights]
