"""Compute a LoRA layer, W x + scaling * B A dropout(x), with less work and memory than PEFT.

PEFT's own forward pass keeps dropout(x), its mask, and copies of x in other types for the backward
pass. This one keeps x, which layers with the same input share, and s A x, which is narrow.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import torch
from torch import Tensor

from anima_exp.errors import ModelError
from anima_exp.libraries.peft_experts import is_expert_wrapper
from anima_exp.libraries.peft_internals import (
    base_layer,
    base_of,
    dropout_of,
    is_dora,
    lora_layers,
    plain_adapter,
    update_of,
    variant_of,
)
from anima_exp.model import expert_layers
from anima_exp.model.cast_weights import cast
from anima_exp.model.dequantized_weights import add_input_gradient
from anima_exp.model.hashed_dropout import KEYS, DropoutKeys, Mask, kept_share, layer_key
from anima_exp.model.lora_start import start_of

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def lora_weights(model: "PreTrainedModel | PeftModel") -> list[Tensor]:
    """Return A, B, A0 and B0 of every plain LoRA layer that computes with one adapter."""
    return [
        weight
        for _, layer in lora_layers(model)
        if (adapter := plain_adapter(layer)) is not None and not variant_of(layer)
        for weight in (*update_of(layer, adapter)[:2], *(start_of(layer) or ()))
    ]


# A custom operation of torch takes tensors and numbers only. So it looks up its frozen layer here,
# by a number that the layer gets when it first computes. A copy of a model gets numbers of its own.
_FROZEN: WeakValueDictionary[int, Any] = WeakValueDictionary()
_NUMBERS: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_next_number = count()


def install(model: "PreTrainedModel | PeftModel") -> DropoutKeys:
    """Replace the forward pass of every LoRA layer, and return the object for the dropout keys.

    A layer with DoRA keeps PEFT's own, whose dropout is torch's.

    Raises:
        ModelError: if a layer is another variant of LoRA.
    """
    keys = DropoutKeys()
    layers = lora_layers(model)
    for name, layer in layers:
        _refuse_variant(name, layer)
    for name, layer in layers:
        if is_dora(layer):
            layer.forward = partial(_dora_forward, layer)
        else:
            layer.forward = partial(_forward, layer, keys=keys, key=layer_key(name))
    expert_layers.install(model)
    setattr(base_of(model), KEYS, keys)
    return keys


def use_if_plain(model: "PreTrainedModel | PeftModel") -> None:
    """Do the same for a trained adapter, but leave other variants of LoRA to PEFT."""
    if all(is_dora(layer) or not variant_of(layer) for _, layer in lora_layers(model)):
        install(model)
    expert_layers.install(model)  # PEFT's own forward pass takes no experts in 4 bits


def be_one_operation(model: "PreTrainedModel | PeftModel", wanted: bool) -> None:
    """Compute every LoRA layer as one custom operation of torch, or stop doing so.

    Selective activation checkpointing needs it, to keep the result of a layer and nothing inside
    it. A call costs more, and the backward pass fills an unused gradient of the narrow product.
    """
    for _, layer in lora_layers(model):
        layer.one_operation = wanted


def _refuse_variant(name: str, layer: torch.nn.Module) -> None:
    """Raise ModelError for variants of LoRA other than DoRA, which training does not support."""
    if (attributes := variant_of(layer)) and not is_dora(layer):
        raise ModelError(
            f"The adapter's layer {name} has {' and '.join(attributes)}, so it is a variant of "
            "LoRA. Training supports plain LoRA, rsLoRA and DoRA. Use an adapter without it."
        )


def _number(frozen: torch.nn.Module) -> int:
    """Return the key of a frozen layer in _FROZEN."""
    if frozen not in _NUMBERS:
        _NUMBERS[frozen] = next(_next_number)
        _FROZEN[_NUMBERS[frozen]] = frozen
    return _NUMBERS[frozen]


@contextmanager
def original_peft_forward(model: "PreTrainedModel | PeftModel") -> Iterator[None]:
    """Inside, use PEFT's own forward pass, for comparison; not for experts in 4 bits."""
    ours = {
        layer: layer.__dict__.pop("forward")
        for _, layer in lora_layers(model)
        if "forward" in layer.__dict__ and not is_expert_wrapper(layer)
    }
    try:
        with expert_layers.original_experts_forward(model):
            yield
    finally:
        for layer, forward in ours.items():
            layer.forward = forward


def _dora_forward(layer: torch.nn.Module, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Compute PEFT's forward pass with the lengths of the rows in fp32.

    In the type of x they would be rounded to 3 digits, and so would every row of W.
    """
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    out: Tensor = type(layer).forward(layer, x.float(), *args, **kwargs)
    return out.to(dtype)


def _forward(
    layer: torch.nn.Module, x: Tensor, *args: Any, keys: DropoutKeys, key: int, **kwargs: Any
) -> Any:
    adapter = plain_adapter(layer)
    if adapter is None:
        return type(layer).forward(layer, x, *args, **kwargs)
    a, b, scaling = update_of(layer, adapter)
    start = start_of(layer)
    kind = x.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    flat = x.reshape(-1, x.shape[-1]).to(dtype)
    chance = dropout_of(layer, adapter) if layer.training else 0.0
    operation: Any = _one_operation if getattr(layer, "one_operation", False) else _LoraLinear.apply
    with torch.autocast(kind, enabled=False):
        out: Tensor = operation(
            flat,
            a,
            b,
            cast(a, dtype),
            cast(b, dtype),
            *((cast(one, dtype) for one in start) if start else (None, None)),
            keys.of(len(flat), x.device) if chance else None,
            _number(base_layer(layer)),
            # Dropout's 1 / (1 - p) is a factor of the narrow product, where it costs nothing.
            scaling / kept_share(chance) if chance else scaling,
            chance,
            key,
        )
    return out.view(*x.shape[:-1], out.shape[-1])


def _compute(
    x: Tensor,
    a: Tensor,
    b: Tensor,
    a0: Tensor | None,
    b0: Tensor | None,
    keys: Tensor | None,
    frozen: int,
    factor: float,
    chance: float,
    key: int,
) -> tuple[Tensor, Tensor]:
    """Return the layer's result [T, out] and s A x [T, rank].

    x is [T, in], A is [rank, in], B is [out, rank], all of one type. A0 and B0 are frozen, belong
    to W, and get x without dropout. Without it both are one product, as in the saved adapter.
    """
    out = _FROZEN[frozen](x)
    dropped_x = x if keys is None else Mask(keys, key, chance).of(x)
    if a0 is None or b0 is None:
        lora_a_x = _scaled(dropped_x, a.T, factor)
        return out.addmm_(lora_a_x, b.T), lora_a_x
    if keys is None:
        lora_a_x = _scaled(x, torch.cat([a, a0]).T, factor)
    else:
        parts = (_scaled(dropped_x, a.T, factor), _scaled(x, a0.T, factor * kept_share(chance)))
        lora_a_x = torch.cat(parts, dim=1)
    return out.addmm_(lora_a_x, torch.cat([b, -b0], dim=1).T), lora_a_x


def _gradients(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
    """Return the gradients of x, A and B."""
    x, lora_a_x, a, b, a0, b0, keys = ctx.saved_tensors
    mask = None if keys is None else Mask(keys, ctx.key, ctx.chance)
    d_lora_a_x = _scaled(d_out, b, ctx.factor)
    d_b = _product(d_out.T, lora_a_x[:, : len(a)], ctx.full)
    d_x = d_lora_a_x @ a if ctx.needs_input_grad[0] else None
    d_a = _product(d_lora_a_x.T, x if mask is None else mask.of(x, also=d_x), ctx.full)
    if d_x is not None:
        if a0 is not None:
            scaling = ctx.factor * (kept_share(ctx.chance) if mask else 1)
            d_x.addmm_(_scaled(d_out, b0, -scaling), a0)
        add_input_gradient(d_x, d_out, _FROZEN[ctx.frozen])
    return d_x, d_a, d_b


def _scaled(left: Tensor, right: Tensor, factor: float) -> Tensor:
    """Return factor * left @ right in one kernel."""
    out = left.new_empty(left.shape[0], right.shape[1])
    return torch.addmm(out, left, right, beta=0, alpha=factor, out=out)


def _product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """Return left @ right in `dtype`; on a GPU an fp32 result is written without rounding first."""
    if left.is_cuda and dtype is torch.float32 and left.dtype is not dtype:
        return torch.mm(left, right, out_dtype=dtype)
    return (left @ right).to(dtype)


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor, a: Tensor, b: Tensor, *inputs: Any) -> Tensor:
        out, lora_a_x = _compute(x, *inputs)
        _setup_context(ctx, (x, a, b, *inputs), (out, lora_a_x))
        return out

    @staticmethod
    def backward(ctx: object, *outputs: Any) -> Any:
        return *_gradients(ctx, outputs[0]), *[None] * 9


@torch.library.custom_op("anima_exp::lora_linear", mutates_args=())
def _lora_linear(
    x: Tensor,
    a: Tensor,
    b: Tensor,
    a_cast: Tensor,
    b_cast: Tensor,
    a0: Tensor | None,
    b0: Tensor | None,
    keys: Tensor | None,
    frozen: int,
    factor: float,
    chance: float,
    key: int,
) -> tuple[Tensor, Tensor]:
    """Compute a LoRA layer as one operation: see be_one_operation."""
    return _compute(x, a_cast, b_cast, a0, b0, keys, frozen, factor, chance, key)


def _one_operation(*inputs: Any) -> Tensor:
    out: Tensor = _lora_linear(*inputs)[0]
    return out


def _setup_context(ctx: Any, inputs: Any, output: Any) -> None:
    x, a, _, a_cast, b_cast, a0, b0, keys, *numbers = inputs
    ctx.frozen, ctx.factor, ctx.chance, ctx.key = numbers
    ctx.full = a.dtype
    ctx.save_for_backward(x, output[1], a_cast, b_cast, a0, b0, keys)


def _backward(ctx: object, d_out: Tensor, _: Tensor) -> Any:
    return *_gradients(ctx, d_out), *[None] * 9


def _shapes(x: Tensor, a: Tensor, b: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    start = 0 if others[2] is None else len(others[2])
    return x.new_empty(len(x), len(b)), x.new_empty(len(x), len(a) + start)


_lora_linear.register_autograd(_backward, setup_context=_setup_context)
_lora_linear.register_fake(_shapes)
