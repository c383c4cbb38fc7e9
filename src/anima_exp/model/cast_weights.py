"""Cast trained weights to the type of matrix products once for many passes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from anima_exp.libraries.torch_internals import copy_all


@contextmanager
def cast_once(weights: Sequence[Tensor], dtype: torch.dtype) -> Iterator[None]:
    """Inside, cast each weight to `dtype` once, and let `cast` return that copy.

    The weights must not change inside, because the copies would be outdated. A nested call copies
    no weight again.
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
    """Cast all weights of a device with a few kernels, into one block of memory."""
    found: dict[Tensor, Tensor] = {}
    for device in {weight.device for weight in weights}:
        here = [weight for weight in weights if weight.device == device]
        sizes = [weight.numel() for weight in here]
        buffer = torch.empty(sum(sizes), dtype=dtype, device=device)
        flat = torch.split(buffer, sizes)
        parts = [part.view(weight.shape) for part, weight in zip(flat, here, strict=True)]
        copy_all(parts, [weight.detach() for weight in here])
        found |= zip(here, parts, strict=True)
    return [found[weight] for weight in weights]
