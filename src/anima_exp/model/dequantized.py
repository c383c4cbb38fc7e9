"""A base in 4 bits -> the same weights in 16 (or 32) beside them, so that no step unpacks them.

The numbers are those that bitsandbytes would compute anew in every forward and backward pass:
QLoRA's arithmetic at LoRA's speed, for as much memory as the unquantised weights take.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


def keep_dequantized(model: nn.Module) -> int:
    """Keep a copy of every 4-bit layer; returns the bytes it takes."""
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit

    total = 0
    for module in model.modules():
        if isinstance(module, Linear4bit):
            weight: Any = module.weight
            copy = dequantize_4bit(weight.data, weight.quant_state).to(module.compute_dtype)
            setattr(module, "forward", partial(_forward, module, copy))  # noqa: B010 - mypy
            total += copy.numel() * copy.element_size()
    return total


def _forward(layer: Any, weight: Tensor, x: Tensor) -> Tensor:
    bias = None if layer.bias is None else layer.bias.to(weight.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return linear(x.to(weight.dtype), weight, bias).to(x.dtype)
