"""A base in 4 bits -> the same weights in 16 (or 32) beside them, so that no step unpacks them.

The numbers are those that bitsandbytes would compute anew in every forward and backward pass:
QLoRA's arithmetic at LoRA's speed, for as much memory as the unquantised weights take.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from anima_exp.libraries.bitsandbytes_internals import dequantised_weight, is_4bit_layer
from anima_exp.libraries.transformers_internals import is_conv1d


def keep_dequantized(model: nn.Module) -> int:
    """Keep a copy of every 4-bit layer; returns the bytes it takes."""
    total = 0
    for module in model.modules():
        if is_4bit_layer(module):
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
    quantised = dequantised_weight(layer)
    if quantised is not None:
        return quantised.to(dtype)
    weight: Tensor = layer.weight.T if is_conv1d(layer) else layer.weight
    return weight.to(dtype)


def _forward(layer: Any, x: Tensor) -> Tensor:
    weight = layer.dequantized
    bias = None if layer.bias is None else layer.bias.to(weight.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return linear(x.to(weight.dtype), weight, bias).to(x.dtype)
