"""A PEFT LoRA layer -> the same sum, base(x) + scaling * B A dropout(x), with less work and memory.

PEFT's own forward keeps dropout(x), its mask, and copies of x in other types for the backward
pass. This one keeps x, which the layers that read it share, and A x, which is narrow.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from anima_exp.model.dropout import TokenKeys, dropped, kept_share, layer_key


def use(model: Any) -> TokenKeys:
    """Let every LoRA layer of `model` compute so; returns where to put the tokens' keys."""
    keys = TokenKeys()
    for name, layer in _layers(model):
        layer.forward = partial(_forward, layer, keys=keys, number=layer_key(name))
    return keys


@contextmanager
def peft_own(model: Any) -> Iterator[None]:
    """Inside, PEFT's own forward is used: to compare with."""
    ours = {layer: layer.__dict__.pop("forward") for _, layer in _layers(model)}
    try:
        yield
    finally:
        for layer, forward in ours.items():
            layer.forward = forward


def _layers(model: Any) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return [
        (name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)
    ]


def _forward(layer: Any, x: Tensor, *args: Any, keys: TokenKeys, number: int, **kwargs: Any) -> Any:
    if layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1:
        return type(layer).forward(layer, x, *args, **kwargs)
    adapter = layer.active_adapters[0]
    base = layer.base_layer(x)
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else base.dtype
    flat = x.reshape(-1, x.shape[-1]).to(dtype)
    chance = getattr(layer.lora_dropout[adapter], "p", 0.0) if layer.training else 0.0
    with torch.autocast(kind, enabled=False):
        found: Tensor = _Update.apply(  # type: ignore[no-untyped-call]
            base.reshape(-1, base.shape[-1]).to(dtype),
            flat,
            layer.lora_A[adapter].weight,
            layer.lora_B[adapter].weight,
            layer.scaling[adapter],
            chance,
            keys.of(len(flat), x.device) if chance else None,
            number,
        )
    return found.view(base.shape)


class _Update(torch.autograd.Function):
    """base [T, out], x [T, in], A [rank, in], B [out, rank] -> base + scaling dropout(x) A' B'."""

    @staticmethod
    def forward(
        ctx: Any,
        base: Tensor,
        x: Tensor,
        a: Tensor,
        b: Tensor,
        scaling: float,
        chance: float,
        keys: Tensor | None,
        number: int,
    ) -> Tensor:
        seen = x if keys is None else dropped(x, keys, number, chance)[0]
        # dropout's 1 / (1 - p) is a factor of the narrow product, where it costs nothing.
        factor = scaling / (kept_share(chance) if keys is not None else 1.0)
        narrow = seen @ a.to(x.dtype).T
        ctx.save_for_backward(x, narrow, a, b, keys)
        ctx.factor, ctx.chance, ctx.number = factor, chance, number
        return torch.addmm(base, narrow, b.to(x.dtype).T, alpha=factor)

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        x, narrow, a, b, keys = ctx.saved_tensors
        d_base = outputs[0]
        d_narrow = (d_base @ b.to(x.dtype)) * ctx.factor
        seen, drop = (x, None) if keys is None else dropped(x, keys, ctx.number, ctx.chance)
        d_b = (d_base.T @ narrow).mul_(ctx.factor).to(b.dtype)
        d_a = (d_narrow.T @ seen).to(a.dtype)
        d_x = None
        if ctx.needs_input_grad[1]:
            d_x = d_narrow @ a.to(x.dtype)
            if drop is not None:
                d_x.masked_fill_(drop, 0)
        return d_base, d_x, d_a, d_b, None, None, None, None
