"""A PEFT LoRA layer -> the same sum, W x + scaling * B A dropout(x), with less work and memory.

PEFT's own forward keeps dropout(x), its mask, and copies of x in other types for the backward
pass. This one keeps x, which the layers that read it share, and A x, which is narrow. It is one
operation to torch, so that selective recomputation can keep its result and nothing inside it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from torch import Tensor

from anima_exp.errors import ModelError
from anima_exp.libraries.peft_internals import (
    base_layer,
    dropout_of,
    lora_layers,
    plain_adapter,
    update_of,
    variant_of,
)
from anima_exp.model.dequantized import weight_of
from anima_exp.model.dropout import TokenKeys, dropped, kept_share, layer_key, masked

# An operation of torch takes tensors and numbers; the frozen layer it needs is found here, by a
# number that it gets when it first computes. So a copy of a model computes with its own layers.
_FROZEN: WeakValueDictionary[int, Any] = WeakValueDictionary()
_NUMBERS: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_next_number = count()


def use(model: Any) -> TokenKeys:
    """Let every LoRA layer of `model` compute so; returns where to put the tokens' keys.

    Raises:
        ModelError: a layer computes more than W x + scaling * B A dropout(x).
    """
    keys = TokenKeys()
    layers = lora_layers(model)
    for name, layer in layers:
        _refuse_variant(name, layer)
    for name, layer in layers:
        layer.forward = partial(_forward, layer, keys=keys, key=layer_key(name))
    return keys


def _refuse_variant(name: str, layer: Any) -> None:
    """Raise ModelError for DoRA and other variants of PEFT, which a run would not compute."""
    if found := variant_of(layer):
        raise ModelError(
            f"The adapter's layer {name} has {' and '.join(found)}: it is a variant of LoRA, as "
            "DoRA is, and training computes plain LoRA alone. Attach an adapter without it."
        )


def _number(frozen: Any) -> int:
    """Of a frozen layer, in _FROZEN."""
    if frozen not in _NUMBERS:
        _NUMBERS[frozen] = next(_next_number)
        _FROZEN[_NUMBERS[frozen]] = frozen
    return _NUMBERS[frozen]


@contextmanager
def peft_own(model: Any) -> Iterator[None]:
    """Inside, PEFT's own forward is used: to compare with."""
    ours = {
        layer: layer.__dict__.pop("forward")
        for _, layer in lora_layers(model)
        if "forward" in layer.__dict__
    }
    try:
        yield
    finally:
        for layer, forward in ours.items():
            layer.forward = forward


def _forward(layer: Any, x: Tensor, *args: Any, keys: TokenKeys, key: int, **kwargs: Any) -> Any:
    adapter = plain_adapter(layer)
    if adapter is None:
        return type(layer).forward(layer, x, *args, **kwargs)
    a, b, scaling = update_of(layer, adapter)
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    flat = x.reshape(-1, x.shape[-1]).to(dtype)
    chance = dropout_of(layer, adapter) if layer.training else 0.0
    with torch.autocast(kind, enabled=False):
        found: Tensor = _lora_linear(
            flat,
            a,
            b,
            keys.of(len(flat), x.device) if chance else None,
            _number(base_layer(layer)),
            scaling,
            chance,
            key,
        )[0]
    return found.view(*x.shape[:-1], -1)


@torch.library.custom_op("anima_exp::lora_linear", mutates_args=())
def _lora_linear(
    x: Tensor,
    a: Tensor,
    b: Tensor,
    keys: Tensor | None,
    frozen: int,
    scaling: float,
    chance: float,
    key: int,
) -> tuple[Tensor, Tensor]:
    """x [T, in], A [rank, in], B [out, rank] -> the layer's result [T, out], and A x [T, rank]."""
    base = _FROZEN[frozen](x)
    seen = x if keys is None else dropped(x, keys, key, chance)[0]
    narrow = seen @ a.to(x.dtype).T
    factor = _factor(scaling, chance, keys)
    return torch.addmm(base, narrow, b.to(x.dtype).T, alpha=factor), narrow


def _factor(scaling: float, chance: float, keys: Tensor | None) -> float:
    # dropout's 1 / (1 - p) is a factor of the narrow product, where it costs nothing.
    return scaling / kept_share(chance) if keys is not None else scaling


def _remember(ctx: Any, inputs: Any, output: Any) -> None:
    x, a, b, keys, ctx.frozen, scaling, ctx.chance, ctx.key = inputs
    ctx.factor = _factor(scaling, ctx.chance, keys)
    ctx.save_for_backward(x, output[1], a, b, keys)


def _backward(ctx: Any, d_found: Tensor, _: Tensor) -> Any:
    x, narrow, a, b, keys = ctx.saved_tensors
    d_narrow = (d_found @ b.to(x.dtype)) * ctx.factor
    seen, mask = (x, None) if keys is None else dropped(x, keys, ctx.key, ctx.chance)
    d_b = (d_found.T @ narrow).mul_(ctx.factor).to(b.dtype)
    d_a = (d_narrow.T @ seen).to(a.dtype)
    d_x = None
    if ctx.needs_input_grad[0]:
        d_x = d_narrow @ a.to(x.dtype)
        if mask is not None:
            d_x = masked(d_x, mask)
        d_x.addmm_(d_found, weight_of(_FROZEN[ctx.frozen], x.dtype))
    return d_x, d_a, d_b, None, None, None, None, None


def _shapes(x: Tensor, a: Tensor, b: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(len(x), len(b)), x.new_empty(len(x), len(a))


_lora_linear.register_autograd(_backward, setup_context=_remember)
_lora_linear.register_fake(_shapes)
