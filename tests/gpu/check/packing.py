"""4 bits: what the GPU packs and unpacks, against the processor."""

from pathlib import Path
from typing import Any

import torch

from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes
from check.rows import Row, Rows
from check.timing import apart, device_seconds, rate


def measure(rows: Rows, work: Path, device: str = "cuda") -> None:
    import_bitsandbytes()
    for kind in ("nf4", "fp4"):
        for dtype in (torch.float32, torch.bfloat16):
            rows.attempt("packing", {"type": kind, "of": dtype}, _packing, kind, dtype, device)
    rows.attempt("unpacking", {"type": "nf4"}, _speed, device)


def _packing(kind: str, dtype: torch.dtype, device: str) -> Row:
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    torch.manual_seed(0)
    weight = torch.randn(512, 1024).to(dtype)
    packed, state = quantize_4bit(weight, quant_type=kind, compress_statistics=True)
    there, state_there = quantize_4bit(weight.to(device), quant_type=kind, compress_statistics=True)
    # The bytes of the processor, unpacked on the GPU: a difference here is one of unpacking alone.
    state_moved = quantize_4bit(weight, quant_type=kind, compress_statistics=True)[1]
    state_moved.to(device)
    return {
        "levels_alike": _alike(_levels(packed, state), _levels(there, state_there)),
        "unpacked_apart": apart(
            dequantize_4bit(packed.to(device), state_moved), dequantize_4bit(packed, state)
        ),
        "together_apart": apart(
            dequantize_4bit(there, state_there), dequantize_4bit(packed, state)
        ),
        "rounding": apart(dequantize_4bit(there, state_there), weight),
    }


def _levels(packed: torch.Tensor, state: Any) -> torch.Tensor:
    """Return the level of each number. FP4 has two codes for 0, and each device chooses its own."""
    codes = packed.flatten().cpu().long()
    found: torch.Tensor = state.code.cpu()[torch.stack([codes >> 4, codes & 15], 1)]
    return found


def _alike(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one == other).double().mean())


def _speed(device: str) -> Row:
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    side = 16384 if device == "cuda" else 256
    weight = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    packed, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    seconds = device_seconds(lambda: dequantize_4bit(packed, state))
    moved = rate(weight.numel() * 2.5, seconds)  # half a byte is read, two are written
    return {"microseconds": seconds * 1e6, "terabytes_a_second": moved and moved / 1e12}
