"""Attention over rows of different lengths in one call, against each row alone in fp32."""

from dataclasses import dataclass
from pathlib import Path

import torch

from anima_exp.model.varlen_attention import _attention
from check.rows import Row, Rows
from check.timing import apart

LENGTHS = (5, 130, 64, 1, 300)


@dataclass(frozen=True)
class Borders:
    """What attention reads of a micro-batch (data/micro_batch.py)."""

    lengths: tuple[int, ...]
    starts: torch.Tensor


@dataclass(frozen=True)
class Case:
    heads: int
    kv_heads: int
    width: int
    window: int | None = None
    scale: float | None = None
    dtype: torch.dtype = torch.bfloat16


CASES = [
    Case(8, 8, 128),
    Case(8, 8, 64),
    Case(8, 8, 80),
    Case(8, 2, 128),
    Case(8, 2, 64, window=33, scale=0.2),
    Case(8, 2, 128, dtype=torch.float16),
    Case(4, 4, 128, dtype=torch.float32),
]


def measure(rows: Rows, work: Path, device: str = "cuda") -> None:
    for case in CASES:
        rows.attempt("attention", vars(case), compared, case, device)


def compared(case: Case, device: str) -> Row:
    """Return how far result and gradients on `device` are from those of the CPU in fp32."""
    torch.manual_seed(0)
    shapes = [(1, heads, sum(LENGTHS), case.width) for heads in (case.heads, case.kv_heads)]
    inputs = [torch.randn(shapes[number]).to(case.dtype) for number in (0, 1, 1)]
    gradient = torch.randn(1, sum(LENGTHS), case.heads, case.width).to(case.dtype)
    here = [x.to(device).clone().requires_grad_() for x in inputs]
    there = [x.float().clone().requires_grad_() for x in inputs]
    out = _together(here, case, device)
    expected = torch.cat(
        [
            _alone([x[:, :, start : start + length] for x in there], case)
            for start, length in zip(_starts()[:-1], LENGTHS, strict=True)
        ],
        dim=1,
    )
    out.backward(gradient.to(device))
    expected.backward(gradient.float())
    names = ("d_query", "d_key", "d_value")
    gradients = {
        name: apart(mine.grad, right.grad)
        for name, mine, right in zip(names, here, there, strict=True)
    }
    return {"result": apart(out, expected), **gradients}


def _starts() -> list[int]:
    return [sum(LENGTHS[:number]) for number in range(len(LENGTHS) + 1)]


def _together(inputs: list[torch.Tensor], case: Case, device: str) -> torch.Tensor:
    """[1, T, heads, D] as a training step computes it."""
    starts = torch.tensor(_starts(), dtype=torch.int32, device=device)
    return _attention(
        None,
        *inputs,
        None,
        scaling=case.scale,
        sliding_window=case.window,
        micro_batch=Borders(LENGTHS, starts),
    )[0]


def _alone(inputs: list[torch.Tensor], case: Case) -> torch.Tensor:
    """[1, T, heads, D] of one row by attention's definition."""
    query, key, value = inputs
    key, value = (x.repeat_interleave(case.heads // case.kv_heads, 1) for x in (key, value))
    scale = case.scale or case.width**-0.5
    scores = query @ key.transpose(-1, -2) * scale
    place = torch.arange(scores.shape[-1])
    behind = place[:, None] - place
    seen = (behind >= 0) & (behind < (case.window or len(place)))
    weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    return (weights @ value).transpose(1, 2)
