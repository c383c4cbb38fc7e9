"""Keep a dequantized copy of a 4-bit base model, so that no step dequantizes it again.

The values are those that bitsandbytes would compute in every forward and backward pass. This gives
QLoRA's arithmetic at LoRA's speed, for as much memory as the unquantized weights take.
"""

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from anima_exp.libraries.bitsandbytes_internals import (
    LARGEST_INTEGER,
    bitsandbytes_weight,
    integers_and_maxima,
    is_4bit_layer,
)
from anima_exp.libraries.transformers_internals import is_conv1d
from anima_exp.model.expert_weights import keep_dequantized_experts


def keep_dequantized(model: nn.Module) -> int:
    """Store a dequantized copy of every 4-bit weight, and return the bytes of all copies."""
    total = 0
    for module in model.modules():
        if is_4bit_layer(module):
            layer: Any = module
            layer.dequantized = dequantized_weight(layer, layer.compute_dtype)
            layer.forward = partial(_forward, layer)
            total += layer.dequantized.numel() * layer.dequantized.element_size()
    return total + keep_dequantized_experts(model)


def dequantized_weight(layer: Any, dtype: torch.dtype) -> Tensor:
    """Return the weight [out, in] of a frozen linear layer with any storage type."""
    kept: Tensor | None = getattr(layer, "dequantized", None)
    if kept is not None:
        return kept.to(dtype)
    quantized = bitsandbytes_weight(layer)
    if quantized is not None:
        return quantized.to(dtype)
    weight: Tensor = layer.weight.T if is_conv1d(layer) else layer.weight
    return weight.to(dtype)


def add_input_gradient(d_x: Tensor | None, d_out: Tensor, layer: nn.Module) -> Tensor:
    """Return `d_x` + `d_out` @ W of a frozen linear layer; `d_x` is changed in place.

    Args:
        d_x: [T, in], or None for zeros.
        d_out: [T, out], the gradient of the layer's result, in the type to multiply in.
        layer: the frozen layer, with any storage type.
    """
    stored = integers_and_maxima(layer)
    if stored is None:
        weight = dequantized_weight(layer, d_out.dtype)
    else:
        # The row factors scale the gradient instead of the weight. An fp32 weight matrix would be
        # written and read: 11 bytes moved per weight instead of 3.
        integers, maxima = stored
        row_factors, unit = _row_factors(layer, maxima)
        weight = integers * unit.to(d_out.dtype)
        d_out = torch.mul(d_out, row_factors, out=torch.empty_like(d_out))
    return d_out @ weight if d_x is None else d_x.addmm_(d_out, weight)


def _row_factors(layer: Any, maxima: Tensor) -> tuple[Tensor, Tensor]:
    """Return the row factors [out], at most 1, and a power of two []: W = factor * int * power.

    The power of two adds no rounding error, and it keeps the scaled gradient within fp16's range.
    Both are stored in the layer, as they are the same in every pass.
    """
    kept = getattr(layer, "row_factors", None)
    if kept is None or kept[0] is not maxima:
        _, exponent = torch.frexp(maxima.max() / LARGEST_INTEGER)
        unit = torch.ldexp(torch.ones_like(maxima[0]), exponent)
        kept = layer.row_factors = (maxima, maxima / (LARGEST_INTEGER * unit), unit)
    return kept[1], kept[2]


def _forward(layer: Any, x: Tensor) -> Tensor:
    weight = layer.dequantized
    bias = None if layer.bias is None else layer.bias.to(weight.dtype)
    kind = x.device.type
    # A LoRA layer around this one has already disabled autocast; entering the context again would
    # cost as much as a kernel launch.
    off = torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()
    with off:
        return linear(x.to(weight.dtype), weight, bias).to(x.dtype)
