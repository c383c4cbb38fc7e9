"""Our dropout mask: the same bit for bit by the GPU's kernel and by a processor, and its time."""

from pathlib import Path

import torch

from anima_exp.model import hashed_dropout
from check.rows import Row, Rows
from check.timing import device_seconds, rate

SHARE, LAYER = 0.1, 12345
SHAPES = [
    (777, 4096, torch.bfloat16),
    (60, 11008, torch.bfloat16),
    (129, 688, torch.float32),
    (64, 255, torch.float16),
    (3, 4097, torch.bfloat16),
    (65, 127, torch.float32),
    (1, 1, torch.bfloat16),
]


def measure(rows: Rows, work: Path, device: str = "cuda") -> None:
    for tokens, width, dtype in SHAPES:
        case = {"tokens": tokens, "width": width, "type": dtype}
        rows.attempt("mask", case, compared, tokens, width, dtype, device)
    tokens = 32_768 if device == "cuda" else 64
    for width in (4096, 11008):
        case = {"tokens": tokens, "width": width}
        rows.attempt("mask speed", case, _speed, tokens, width, device)


def mask(x: torch.Tensor, keys: torch.Tensor, layer: int, share: float) -> torch.Tensor:
    """Return a copy of `x` with zeros as a training step puts them."""
    return hashed_dropout.Mask(keys, layer, share).of(x)


def dropped(x: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    return mask(x, keys, LAYER, SHARE)


def in_place(x: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Return the same, written over a copy of `x`, as the backward pass does it to a gradient."""
    gradient = x.clone()
    hashed_dropout.Mask(keys, LAYER, SHARE).of(x, also=gradient)
    return gradient


def eager(x: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Return the same by torch's own operations on the device of `x`."""
    bits = hashed_dropout._bits(x, keys, LAYER, round(SHARE * hashed_dropout.RESOLUTION))
    return (x.view(bits.dtype) & bits).view(x.dtype)


def compared(tokens: int, width: int, dtype: torch.dtype, device: str) -> Row:
    torch.manual_seed(0)
    x = torch.randn(tokens, width).to(dtype)
    first = max(tokens // 3, 1)
    lengths = [first, tokens - first] if tokens > 1 else [1]
    keys = hashed_dropout.token_keys(0, 3, range(len(lengths)), lengths, torch.device("cpu"))
    here, there = x.to(device), keys.to(device)
    by_kernel, by_torch = dropped(here, there).cpu(), eager(here, there).cpu()
    backward = in_place(here, there).cpu()
    by_cpu = dropped(x, keys)
    return {
        "as_cpu": bool(torch.equal(by_kernel, by_cpu)),
        "as_eager": bool(torch.equal(by_kernel, by_torch)),
        "in_place_as_cpu": bool(torch.equal(backward, by_cpu)),
        "by_triton": hashed_dropout._kernel(here) is not None,
        # A share of few numbers says nothing.
        "zeros": float((by_kernel == 0).float().mean()) if x.numel() > 10_000 else None,
    }


def _speed(tokens: int, width: int, device: str) -> Row:
    x = torch.randn(tokens, width, device=device, dtype=torch.bfloat16)
    keys = hashed_dropout.token_keys(0, 3, [0], [tokens], x.device)
    seconds = device_seconds(lambda: dropped(x, keys))
    copying = device_seconds(x.clone)
    # A mask that is as fast as memory reads a number and writes one, as a copy does.
    return {
        "microseconds": seconds * 1e6,
        "copies": rate(seconds, copying),
    }
