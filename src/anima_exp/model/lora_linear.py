"""A PEFT LoRA layer -> the same sum, W x + scaling * B A dropout(x), with less work and memory.

PEFT's own forward keeps dropout(x), its mask, and copies of x in other types for the backward
pass. This one keeps x, which the layers that read it share, and s A x, which is narrow.
"""

from collections.abc import Iterator, Sequence
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
from anima_exp.libraries.torch_internals import copy_all
from anima_exp.model.dequantized_weights import add_input_gradient
from anima_exp.model.hashed_dropout import DropoutKeys, Mask, kept_share, layer_key

# A and B of LoRA layers -> the same in the type of the products, cast once for a whole step.


def lora_weights(model: Any) -> list[Tensor]:
    """Return A and B of every LoRA layer that computes with one adapter."""
    return [
        weight
        for _, layer in lora_layers(model)
        if (adapter := plain_adapter(layer)) is not None
        for weight in update_of(layer, adapter)[:2]
    ]


@contextmanager
def cast_once(weights: Sequence[Tensor], dtype: torch.dtype) -> Iterator[None]:
    """Inside, `cast` returns one copy of each weight, however often it is called.

    The weights must not change inside: the copies would be those from before. A second call inside
    copies no weight again.
    """
    others = [
        one
        for one in dict.fromkeys(weights)
        if one.dtype is not dtype and getattr(one, "kept_copy", None) is None
    ]
    copies = _copies(others, dtype)
    try:
        for weight, copy in zip(others, copies, strict=True):
            weight.kept_copy = copy  # type: ignore[attr-defined]
        yield
    finally:
        for weight in others:
            weight.__dict__.pop("kept_copy", None)


def cast(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return `weight` in `dtype`, without a gradient."""
    kept: Tensor | None = getattr(weight, "kept_copy", None)
    return kept if kept is not None and kept.dtype is dtype else weight.detach().to(dtype)


def _copies(weights: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Cast all weights of a device by few kernels, into one piece of memory."""
    found: dict[Tensor, Tensor] = {}
    for device in {weight.device for weight in weights}:
        here = [weight for weight in weights if weight.device == device]
        sizes = [weight.numel() for weight in here]
        room = torch.empty(sum(sizes), dtype=dtype, device=device)
        flat = torch.split(room, sizes)
        parts = [part.view(weight.shape) for part, weight in zip(flat, here, strict=True)]
        copy_all(parts, [weight.detach() for weight in here])
        found |= zip(here, parts, strict=True)
    return [found[weight] for weight in weights]


# An operation of torch takes tensors and numbers; the frozen layer it needs is found here, by a
# number that it gets when it first computes. So a copy of a model computes with its own layers.
_FROZEN: WeakValueDictionary[int, Any] = WeakValueDictionary()
_NUMBERS: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_next_number = count()


def install(model: Any) -> DropoutKeys:
    """Let every LoRA layer of `model` compute so; returns where to put the tokens' keys.

    Raises:
        ModelError: a layer computes more than W x + scaling * B A dropout(x).
    """
    keys = DropoutKeys()
    layers = lora_layers(model)
    for name, layer in layers:
        _refuse_variant(name, layer)
    for name, layer in layers:
        layer.forward = partial(_forward, layer, keys=keys, key=layer_key(name))
    return keys


def use_if_plain(model: Any) -> None:
    """The same for a finished adapter, but leave one that is a variant of LoRA to PEFT."""
    if not any(variant_of(layer) for _, layer in lora_layers(model)):
        install(model)


def be_one_operation(model: Any, wanted: bool) -> None:
    """Let every LoRA layer be one operation of torch, or not.

    Selective recomputation needs it, to keep the result of a layer and nothing inside it. It costs
    more to call, and the backward pass fills a gradient of the narrow product that nobody reads.
    """
    for _, layer in lora_layers(model):
        layer.one_operation = wanted


def _refuse_variant(name: str, layer: Any) -> None:
    """Raise ModelError for DoRA and other variants of PEFT, which a run would not compute."""
    if found := variant_of(layer):
        raise ModelError(
            f"The adapter's layer {name} has {' and '.join(found)}, so it is a variant of LoRA "
            "such as DoRA. Training supports plain LoRA only. Use an adapter without it."
        )


def _number(frozen: Any) -> int:
    """Of a frozen layer, in _FROZEN."""
    if frozen not in _NUMBERS:
        _NUMBERS[frozen] = next(_next_number)
        _FROZEN[_NUMBERS[frozen]] = frozen
    return _NUMBERS[frozen]


@contextmanager
def original_peft_forward(model: Any) -> Iterator[None]:
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


def _forward(layer: Any, x: Tensor, *args: Any, keys: DropoutKeys, key: int, **kwargs: Any) -> Any:
    adapter = plain_adapter(layer)
    if adapter is None:
        return type(layer).forward(layer, x, *args, **kwargs)
    a, b, scaling = update_of(layer, adapter)
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    flat = x.reshape(-1, x.shape[-1]).to(dtype)
    chance = dropout_of(layer, adapter) if layer.training else 0.0
    operation: Any = _one_operation if getattr(layer, "one_operation", False) else _LoraLinear.apply
    with torch.autocast(kind, enabled=False):
        found: Tensor = operation(
            flat,
            a,
            b,
            cast(a, dtype),
            cast(b, dtype),
            keys.of(len(flat), x.device) if chance else None,
            _number(base_layer(layer)),
            # dropout's 1 / (1 - p) is a factor of the narrow product, where it costs nothing.
            scaling / kept_share(chance) if chance else scaling,
            chance,
            key,
        )
    return found.view(*x.shape[:-1], found.shape[-1])


def _compute(
    x: Tensor,
    a: Tensor,
    b: Tensor,
    keys: Tensor | None,
    frozen: int,
    factor: float,
    chance: float,
    key: int,
) -> tuple[Tensor, Tensor]:
    """x [T, in], A [rank, in], B [out, rank], all of one type -> the layer's result, and s A x."""
    found = _FROZEN[frozen](x)
    seen = x if keys is None else Mask(keys, key, chance).of(x)
    narrow = _scaled(seen, a.T, factor)
    return found.addmm_(narrow, b.T), narrow


def _gradients(ctx: Any, d_found: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
    """Of x, A and B."""
    x, narrow, a, b, keys = ctx.saved_tensors
    mask = None if keys is None else Mask(keys, ctx.key, ctx.chance)
    d_narrow = _scaled(d_found, b, ctx.factor)
    d_b = _product(d_found.T, narrow, ctx.full)
    d_x = d_narrow @ a if ctx.needs_input_grad[0] else None
    d_a = _product(d_narrow.T, x if mask is None else mask.of(x, also=d_x), ctx.full)
    if d_x is not None:
        add_input_gradient(d_x, d_found, _FROZEN[ctx.frozen])
    return d_x, d_a, d_b


def _scaled(left: Tensor, right: Tensor, factor: float) -> Tensor:
    """factor * left @ right: the scale is part of the product."""
    room = left.new_empty(left.shape[0], right.shape[1])
    return torch.addmm(room, left, right, beta=0, alpha=factor, out=room)


def _product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """left @ right in `dtype`, which on a GPU the product writes itself, unrounded."""
    if left.is_cuda and dtype is torch.float32 and left.dtype is not dtype:
        return torch.mm(left, right, out_dtype=dtype)
    return (left @ right).to(dtype)


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, *inputs: Any) -> Tensor:
        found, narrow = _compute(x, *inputs)
        _remember(ctx, (x, a, b, *inputs), (found, narrow))
        return found

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        return *_gradients(ctx, outputs[0]), *[None] * 7


@torch.library.custom_op("anima_exp::lora_linear", mutates_args=())
def _lora_linear(
    x: Tensor,
    a: Tensor,
    b: Tensor,
    a_cast: Tensor,
    b_cast: Tensor,
    keys: Tensor | None,
    frozen: int,
    factor: float,
    chance: float,
    key: int,
) -> tuple[Tensor, Tensor]:
    """See be_one_operation."""
    return _compute(x, a_cast, b_cast, keys, frozen, factor, chance, key)


def _one_operation(*inputs: Any) -> Tensor:
    found: Tensor = _lora_linear(*inputs)[0]
    return found


def _remember(ctx: Any, inputs: Any, output: Any) -> None:
    x, a, _, a_cast, b_cast, keys, ctx.frozen, ctx.factor, ctx.chance, ctx.key = inputs
    ctx.full = a.dtype
    ctx.save_for_backward(x, output[1], a_cast, b_cast, keys)


def _backward(ctx: Any, d_found: Tensor, _: Tensor) -> Any:
    return *_gradients(ctx, d_found), *[None] * 7


def _shapes(x: Tensor, a: Tensor, b: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return x.new_empty(len(x), len(b)), x.new_empty(len(x), len(a))


_lora_linear.register_autograd(_backward, setup_context=_remember)
_lora_linear.register_fake(_shapes)
