"""Merge updates of experts: find the stack of each, and merge a stack whose files hold matrices."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from anima_exp.config import QuantConfig
from anima_exp.libraries.bitsandbytes_stacks import Stack, quantized_stack
from anima_exp.libraries.peft_experts import by_expert
from anima_exp.merging.adapter import Adapter, Update
from anima_exp.merging.base import Layers
from anima_exp.model.stored_tensors import Tensors

_WRAPPED = ".base_layer"  # PEFT wraps a module once for each of its stacks


@dataclass(frozen=True)
class StackPlan:
    """How one stack of experts is made, which is a tensor in memory and one or more in files."""

    name: str
    files: tuple[str, ...]
    update: Update | None
    rounded: bool  # first quantized to 4 bits and dequantized, as in training


def is_of_experts(module: str, layers: Layers) -> bool:
    """Return whether an update belongs to a module with stacks of experts."""
    holder = module.replace(_WRAPPED, "")
    return any(name.rpartition(".")[0] == holder for name in layers.stacks)


def updates_of_stacks(adapter: Adapter, layers: Layers) -> tuple[dict[str, Update], set[str]]:
    """Return the update of each stack that has one, by the stack's name, and their keys.

    The first stack of a module is in the innermost wrapper. A module with updates that fit no
    stacks has none here. PEFT knows the alpha of a stack by the name of the stack.
    """
    by_module: dict[str, list[str]] = {}
    for key in adapter.updates:
        if is_of_experts(key, layers):
            by_module.setdefault(key.replace(_WRAPPED, ""), []).append(key)
    found: dict[str, Update] = {}
    matched: set[str] = set()
    alphas = adapter.alphas
    for module, keys in by_module.items():
        inner_first = sorted(keys, key=lambda key: -key.count(_WRAPPED))
        updates = [adapter.updates[key] for key in inner_first]
        for stacks in _choices(module, len(keys), layers):
            pairs = list(zip(stacks, updates, strict=True))
            if all(_fits(adapter, layers, name, update) for name, update in pairs):
                matched |= {*keys}
                for (name, update), key in zip(pairs, inner_first, strict=True):
                    scale = update.scale * alphas.of(name) / alphas.of(key)
                    found[name] = replace(update, scale=scale)
                break
    return found, matched


def _choices(module: str, count: int, layers: Layers) -> Iterator[tuple[str, ...]]:
    stacks = [name for name in layers.stacks if name.rpartition(".")[0] == module]
    yield from combinations(stacks, count)


def _fits(adapter: Adapter, layers: Layers, name: str, update: Update) -> bool:
    """Return whether A is [experts * rank, in] and B [out, rank * experts] of a stack."""
    a, b = (adapter.tensors.entries[one].shape for one in (update.a, update.b))
    count, inputs, outputs = layers.stacks[name]
    matrices = len(a) == len(b) == 2 and a[0] == b[1] and a[0] % count == 0
    return matrices and (a[1], b[0]) == (inputs, outputs)


def merged_stack(
    plan: StackPlan,
    base: Tensors,
    adapter: Tensors,
    layers: Layers,
    quant: QuantConfig,
    *,
    dtype: torch.dtype,
    where: torch.device,
) -> dict[str, Tensor]:
    """Return the tensors of a merged stack, by their names in files.

    Args:
        dtype: the type in which the run loads its base before it quantizes.
        where: the run's type of device, because each has its own quantization kernel.
    """
    weight = layers.names.together(plan.name, {name: base.read(name) for name in plan.files})
    if plan.rounded:
        stored = quantized_stack(
            weight.to(where, dtype), quant.type.value, double_quant=quant.double_quant
        )
        weight = Stack(stored).all(dtype).cpu()
    if plan.update:
        count = layers.stacks[plan.name][0]
        a, b = by_expert(
            adapter.read(plan.update.a).float(), adapter.read(plan.update.b).float(), count
        )
        scale = plan.update.of_experts(count)
        left, right = (a.mT, b.mT) if plan.name in layers.turned else (b, a)
        weight = torch.stack(
            [
                torch.addmm(matrix.float(), one, other, alpha=scale)
                for matrix, one, other in zip(weight, left, right, strict=True)
            ]
        )
    return (
        dict.fromkeys(plan.files, weight)
        if len(plan.files) == 1
        else layers.names.apart(plan.name, weight)
    )
