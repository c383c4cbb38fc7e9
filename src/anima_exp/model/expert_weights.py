"""Keep the experts of a mixture of experts in 4 bits: find, load, save and dequantize them.

transformers stores a layer's experts as a few stacks of matrices [experts, out, in], in some
families [experts, in, out], which are no linear layers. bitsandbytes' own way for such a parameter
dequantizes it for autograd, which keeps the 16-bit weights of every layer until the backward pass.
Here a stack stays in 4 bits, and model/expert_layers.py dequantizes it in each pass.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from anima_exp.libraries.bitsandbytes_internals import is_quantized
from anima_exp.libraries.bitsandbytes_stacks import (
    Stack,
    of_parts,
    parts_of,
    quantized_stack,
    shape_of,
)
from anima_exp.libraries.bitsandbytes_storage import constants_bytes, number_type
from anima_exp.libraries.peft_internals import name_in_base
from anima_exp.libraries.transformers_experts import (
    expert_modules,
    is_transposed,
    quantized_while_loading,
    save_without,
)

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_COPIES = "dequantized_stacks"  # an attribute of a module with experts
_FILE = "experts-{:05}.safetensors"


@dataclass(frozen=True)
class ExpertStack:
    """One stack of experts' matrices in 4 bits."""

    name: str  # model.layers.0.mlp.experts.gate_up_proj
    elements: int  # weights
    bytes: int  # as stored, with the quantization constants
    kind: str  # nf4 or fp4


def stack_names(model: nn.Module) -> list[str]:
    """Return the full names of all stacks of experts, in any storage type."""
    return [f"{name}.{stack}" for name, _, stacks in expert_modules(model) for stack in stacks]


def stack_sizes(model: nn.Module) -> dict[str, tuple[int, int, int]]:
    """Return the full name of each stack: its number of matrices, and their inputs and outputs."""
    found = {}
    for name, module, stacks in expert_modules(model):
        for stack in stacks:
            parameter: Any = getattr(module, stack)
            shape = shape_of(parameter) if is_quantized(parameter) else parameter.shape
            count, outputs, inputs = (int(size) for size in shape)
            if is_transposed(module):
                inputs, outputs = outputs, inputs
            found[f"{name}.{stack}"] = count, inputs, outputs
    return found


def quantized_experts(model: nn.Module) -> list[ExpertStack]:
    """Return the stacks that are stored in 4 bits, by the names that they have in the base."""
    return [
        ExpertStack(
            f"{name_in_base(name)}.{stack}",
            int(shape_of(parameter).numel()),
            parameter.nbytes + constants_bytes(parameter),
            number_type(parameter),
        )
        for name, stack, parameter in _quantized(model)
    ]


def _quantized(model: nn.Module) -> Iterator[tuple[str, str, Any]]:
    for name, module, stacks in expert_modules(model):
        for stack in stacks:
            parameter = getattr(module, stack)
            if is_quantized(parameter):
                yield name, stack, parameter


def quantizing(*, absent: bool = False) -> AbstractContextManager[None]:
    """Inside, `from_pretrained` with a 4-bit config also quantizes stacks of experts.

    Args:
        absent: leave the stacks out, because `load_stacks` reads them.
    """
    return quantized_while_loading(quantized_stack, absent=absent)


def dequantized_stack(
    module: nn.Module, name: str, dtype: torch.dtype
) -> tuple[Callable[[], Tensor], Callable[[int], Tensor]]:
    """Return functions that return a stack of a module, and one matrix of it, without a gradient.

    Each call of them dequantizes, unless `keep_dequantized_experts` has kept a copy.
    """
    kept: dict[str, Tensor] = module.__dict__.get(_COPIES, {})
    parameter = getattr(module, name)
    if name in kept or not is_quantized(parameter):
        plain = kept.get(name, parameter).detach()
        return (lambda: plain.to(dtype)), (lambda number: plain[number].to(dtype))
    stack = Stack(parameter)
    if stack.divides:
        return (lambda: stack.all(dtype)), (lambda number: stack.one(number, dtype))
    whole: list[Tensor] = []

    def one(number: int) -> Tensor:
        if not whole:
            whole.append(stack.all(dtype))
        return whole[0][number]

    return (lambda: stack.all(dtype)), one


def keep_dequantized_experts(model: nn.Module, dtype: torch.dtype | None = None) -> int:
    """Store a dequantized copy of every 4-bit stack, and return the bytes of all copies."""
    total = 0
    for _, module, stacks in expert_modules(model):
        for stack in stacks:
            if is_quantized(getattr(module, stack)):
                wanted = dtype or compute_type(module) or torch.float32
                copy = dequantized_stack(module, stack, wanted)[0]()
                module.__dict__.setdefault(_COPIES, {})[stack] = copy
                total += copy.nbytes
    return total


def compute_type(module: nn.Module) -> torch.dtype | None:
    """Return the type in which a module multiplies by its frozen experts, quant.compute_dtype."""
    found: torch.dtype | None = getattr(module, "compute_dtype", None)
    return found


def set_expert_compute_type(model: nn.Module, dtype: torch.dtype) -> None:
    """Make every module with 4-bit experts multiply by them in `dtype`."""
    for _, module, stacks in expert_modules(model):
        if any(is_quantized(getattr(module, stack)) for stack in stacks):
            module.compute_dtype = dtype  # type: ignore[assignment]


def save_quantized(
    model: "PreTrainedModel | PeftModel", folder: Path, *, max_shard_size: str
) -> None:
    """Save a quantized base as transformers does, and its 4-bit stacks in files next to it.

    One layer's stacks are in one file, so that few weights are copied at a time.
    """
    saving: Any = model
    stacks = [(f"{name}.{stack}", parameter) for name, stack, parameter in _quantized(model)]
    if not stacks:
        saving.save_pretrained(folder, max_shard_size=max_shard_size)
        return
    from safetensors.torch import save_file

    save_without(model, {name for name, _ in stacks}, folder, max_shard_size=max_shard_size)
    for number, (name, parameter) in enumerate(stacks):
        parts = {
            f"{name}:{part}": value.cpu().contiguous().clone()
            for part, value in parts_of(parameter).items()
        }
        save_file(parts, folder / _FILE.format(number), metadata={"format": "pt"})


def has_stacks(folder: Path) -> bool:
    """Return whether `save_quantized` wrote stacks of experts into a folder."""
    return (folder / _FILE.format(0)).is_file()


def load_stacks(model: "PreTrainedModel | PeftModel", folder: Path) -> None:
    """Read the stacks of `save_quantized` into a model that was loaded without them."""
    from safetensors import safe_open

    for file in sorted(folder.glob(_FILE.format(0).replace("00000", "*"))):
        with safe_open(file, framework="pt") as opened:
            parts: dict[str, dict[str, Tensor]] = {}
            for key in opened.keys():  # noqa: SIM118 - safe_open is no mapping
                name, _, part = key.partition(":")
                parts.setdefault(name, {})[part] = opened.get_tensor(key)
        for name, values in parts.items():
            holder, _, stack = name.rpartition(".")
            module = model.get_submodule(holder)
            where = _device_of(model, holder)
            module.register_parameter(stack, of_parts(values, where))


def _device_of(model: "PreTrainedModel | PeftModel", holder: str) -> torch.device:
    """Return the device of a module's block: that of its nearest weight."""
    while holder:
        holder = holder.rpartition(".")[0]
        for parameter in model.get_submodule(holder).parameters():
            return parameter.device
    return next(model.parameters()).device
