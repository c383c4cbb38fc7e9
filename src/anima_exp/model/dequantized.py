"""A base in 4 bits -> the same weights in 16 (or 32) beside them, so that no step unpacks them.

The numbers are those that bitsandbytes would compute anew in every forward and backward pass:
QLoRA's arithmetic at LoRA's speed, for as much memory as the unquantised weights take.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from anima_exp.quiet import import_bitsandbytes


def keep_dequantized(model: nn.Module) -> int:
    """Keep a copy of every 4-bit layer; returns the bytes it takes."""
    import_bitsandbytes()
    from bitsandbytes.nn.modules import Linear4bit

    total = 0
    for module in model.modules():
        if isinstance(module, Linear4bit):
            layer: Any = module
            layer.dequantized = weight_of(layer, layer.compute_dtype)
            layer.forward = partial(_forward, layer)
            total += layer.dequantized.numel() * layer.dequantized.element_size()
    return total


def weight_of(layer: Any, dtype: torch.dtype) -> Tensor:
    """[out, in] of a frozen linear layer, however it is stored."""
    kept: Tensor | None = getattr(layer, "dequantized", None)
    if kept is not None:
        return kept.to(dtype)
    weight, kind = layer.weight, type(layer).__name__
    if kind == "Linear4bit":
        from bitsandbytes.functional import dequantize_4bit

        # A sharded weight, put together again (sharded.py), comes without its constants.
        state = getattr(weight, "quant_state", None) or layer.quant_state
        found: Tensor = dequantize_4bit(weight.data, state)
        return found.to(dtype)
    if kind == "Linear8bitLt":  # rows of integers, each with its largest number
        state = layer.state
        integers, largest = (weight.CB, weight.SCB) if state.CB is None else (state.CB, state.SCB)
        rows: Tensor = integers * (largest / 127)[:, None]
        return rows.to(dtype)
    if kind == "Conv1D":
        weight = weight.T
    return weight.to(dtype)  # type: ignore[no-any-return]


def _forward(layer: Any, x: Tensor) -> Tensor:
    weight = layer.dequantized
    bias = None if layer.bias is None else layer.bias.to(weight.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return linear(x.to(weight.dtype), weight, bias).to(x.dtype)
