"""Apply the dropout mask of model/hashed_dropout.py on a GPU, in one Triton kernel."""

from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from anima_exp.model.constants import COLUMN, FIRST, RESOLUTION, SECOND

_PAIRS = 1024  # of columns that one program computes; two share a hash


def drop(x: Tensor, keys: Tensor, layer: int, threshold: int, also: Tensor | None = None) -> Tensor:
    """Return a copy of `x` [T, H] with zeros where the mask drops.

    Args:
        keys: [T] int32, on the device of x.
        threshold: the probability of dropping, in parts of RESOLUTION.
        also: a tensor like x that gets the same zeros in place.
    """
    assert x.is_contiguous() and (also is None or also.is_contiguous())
    out = torch.empty_like(x)
    tokens, width = x.shape
    if not tokens:
        return out
    grid = (tokens, triton.cdiv(width, 2 * _PAIRS))
    # A kernel runs on the current GPU; with a device map x can be on another.
    here = not x.is_cuda or x.device.index == torch.cuda.current_device()
    with nullcontext() if here else torch.cuda.device(x.device):
        _drop[grid](
            x, keys, out, x if also is None else also, width, layer, threshold - RESOLUTION // 2,
            ALSO=also is not None, COLUMN=COLUMN, FIRST=FIRST, SECOND=SECOND, PAIRS=_PAIRS,
        )  # fmt: skip
    return out


@triton.jit(do_not_specialize=["layer", "least"])  # type: ignore[untyped-decorator, unused-ignore]
def _drop(  # type: ignore[no-untyped-def]
    x,
    keys,
    out,
    also,
    width,
    layer,
    least,
    ALSO: tl.constexpr,
    COLUMN: tl.constexpr,
    FIRST: tl.constexpr,
    SECOND: tl.constexpr,
    PAIRS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    pairs = tl.program_id(1) * PAIRS + tl.arange(0, PAIRS)
    bits = tl.load(keys + row) ^ (pairs * COLUMN + layer)
    bits = bits * FIRST
    bits = bits ^ (bits >> 16)
    bits = bits * SECOND
    # The low half belongs to the even column, the high one to the odd column after it.
    lanes = tl.interleave((bits << 16) >> 16, bits >> 16)
    columns = tl.program_id(1) * 2 * PAIRS + tl.arange(0, 2 * PAIRS)
    inside = columns < width
    kept = (lanes >> 1) >= least
    places = row * width + columns
    tl.store(out + places, tl.where(kept, tl.load(x + places, inside), 0.0), inside)
    if ALSO:
        tl.store(also + places, tl.where(kept, tl.load(also + places, inside), 0.0), inside)
