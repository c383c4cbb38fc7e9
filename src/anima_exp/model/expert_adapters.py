"""Attach LoRA adapters to stacks of experts through PEFT's target parameters, or to none of them.

The saved adapter is one of PEFT's own: A and B of every expert of a stack, side by side.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from anima_exp.config import LoraConfig
from anima_exp.config.lora_checks import check_experts
from anima_exp.errors import ModelError
from anima_exp.libraries.bitsandbytes_internals import is_quantized
from anima_exp.libraries.bitsandbytes_stacks import shape_of
from anima_exp.libraries.peft_experts import keep_names, with_shapes
from anima_exp.libraries.transformers_experts import expert_modules
from anima_exp.model.expert_weights import quantized_experts, stack_names
from anima_exp.model.linear_layers import in_block

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

# An adapter of transformers 4, where each expert had layers of its own.
_EACH_EXPERT = re.compile(r"\.experts\.\d+\.")


def target_parameters(model: "PreTrainedModel | PeftModel", lora: LoraConfig) -> list[str] | None:
    """Return the names of the stacks that get an adapter, within a block; None without any.

    Raises:
        ModelError: if lora.experts=true, and the model or another setting does not allow it.
    """
    if not lora.experts:
        return None
    stacks = stack_names(model)
    if not stacks:
        raise ModelError(
            f"lora.experts=true adapts stacks of experts, but {type(model).__name__} has none "
            "(experts that are linear layers get adapters by lora.target_modules). "
            "Leave lora.experts at false."
        )
    check_experts(lora)
    return sorted({in_block(name)[1] for name in stacks})


def experts_line(model: nn.Module, lora: LoraConfig) -> str | None:
    """Return a line that says that stacked experts get no adapter; None if they do, or without."""
    stored = {one.name: one for one in quantized_experts(model)}
    stacks = stack_names(model)
    if lora.experts or not stacks:
        return None
    kinds = sorted({one.kind for one in stored.values()})
    where = f"in {' and '.join(kinds)}" if kinds else "not quantized"
    count = sum(_weights(model, name) for name in stacks)
    return (
        f"experts  {count / 1e6:,.1f} M weights, {where}, frozen and without an adapter "
        "(lora.experts=true adds one)"
    )


def _weights(model: nn.Module, name: str) -> int:
    holder, _, own = name.rpartition(".")
    parameter: Any = getattr(model.get_submodule(holder), own)
    return int(shape_of(parameter).numel() if is_quantized(parameter) else parameter.numel())


def is_of_each_expert(names: Iterable[str]) -> bool:
    """Return whether an adapter's weights are named as in transformers 4."""
    return any(_EACH_EXPERT.search(name) for name in names)


@contextmanager
def as_peft_needs(model: "PreTrainedModel | PeftModel", *, rename: bool = False) -> Iterator[None]:
    """Inside, let PEFT attach an adapter: it sees 4-bit stacks by their true shapes.

    Args:
        rename: let PEFT turn names of transformers 4 into stacks of experts.
    """
    places = []
    for _, module, stacks in expert_modules(model):
        for stack in stacks:
            parameter = getattr(module, stack)
            if is_quantized(parameter):
                # One number, seen as many: PEFT reads its shape, type and device only.
                one = torch.zeros((), device=parameter.device)
                stand_in = nn.Parameter(one.expand(shape_of(parameter)), requires_grad=False)
                places.append((module, stack, stand_in))
    with ExitStack() as contexts:
        if not rename:
            contexts.enter_context(keep_names())
        contexts.enter_context(with_shapes(places))
        yield
