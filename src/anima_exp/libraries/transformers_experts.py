"""The parts of transformers' mixtures of experts that its documentation does not promise.

It is the same from transformers 5.17 to 5.24. Each function says what it uses and what a change of
it would break; tests/contracts/test_transformers_experts.py checks every one.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes
from anima_exp.libraries.bitsandbytes_stacks import dimensions

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel

_BLOCK = re.compile(r"(^|\.)\d+\.")
# Parameters of three dimensions in other classes are convolutions, positions and the like.
_EXPERTS = re.compile("expert", re.IGNORECASE)


def stacks_of(module: "nn.Module") -> list[str]:
    """Return the names of a module's own parameters that are stacks of experts' matrices.

    A stack has three dimensions.
    """
    if not _EXPERTS.search(type(module).__name__):
        return []
    found = []
    for name, parameter in module.named_parameters(recurse=False):
        if dimensions(parameter) == 3:
            found.append(name)
    return found


def expert_modules(model: "nn.Module") -> "list[tuple[str, nn.Module, list[str]]]":
    """Return each module of a decoder block with stacked experts, and the names of its stacks."""
    return [
        (name, module, stacks)
        for name, module in model.named_modules()
        if _BLOCK.search(name) and (stacks := stacks_of(module))
    ]


def takes_experts_function(module: "nn.Module") -> bool:
    """Return whether a function from outside computes the experts (`use_experts_implementation`).

    Such a class has `_apply_gate`, and its objects say how weights are stored: `is_transposed`,
    `has_bias`, `has_gate`. It is called with tokens [T, hidden], experts and weights [T, k].
    """
    names = ("_apply_gate", "is_transposed", "has_bias", "has_gate", "num_experts")
    return all(hasattr(module, name) for name in names)


def apply_gate(experts: "nn.Module", up: "torch.Tensor") -> "torch.Tensor":
    """Return the activation of the first product, by `_apply_gate` or `act_fn`."""
    module: Any = experts
    result: torch.Tensor = module._apply_gate(up) if module.has_gate else module.act_fn(up)
    return result


def products_of(module: "nn.Module") -> tuple[str, str]:
    """Return the names of the first and the second stack: as transformers' own functions read."""
    return ("gate_up_proj" if getattr(module, "has_gate", True) else "up_proj"), "down_proj"


def expert_count(module: "nn.Module") -> int:
    """Return the number of experts, `num_experts`."""
    return int(getattr(module, "num_experts"))  # noqa: B009 - mypy


def has_bias(module: "nn.Module") -> bool:
    """Return whether each expert adds a bias: the parameter STACK_bias."""
    return bool(getattr(module, "has_bias", False))


def norm_behind(experts: "nn.Module") -> "Callable[[torch.Tensor], torch.Tensor] | None":
    """Return the norm after the second product, which a few classes have since 5.20."""
    module: Any = experts
    if not getattr(module, "has_post_expert_norm", False):
        return None
    result: Callable[[torch.Tensor], torch.Tensor] = module.post_expert_norm
    return result


def is_transposed(module: "nn.Module") -> bool:
    """Return whether a stack is [experts, in, out] and not [experts, out, in]."""
    return bool(getattr(module, "is_transposed", False))


@contextmanager
def quantized_while_loading(quantize: "Callable[..., Any]", *, absent: bool) -> Iterator[None]:
    """Inside, let `from_pretrained` quantize stacks of experts to 4 bits as linear layers.

    Each stack is put together from the files, quantized, and freed before the next one is read, so
    that one stack is in 16 bits at a time. The quantizer is a subclass of the one that transformers
    has in AUTO_QUANTIZER_MAPPING; it overrides `param_needs_quantization`, `get_quantize_ops` and
    `_process_model_before_weight_loading`. If these are not called, the experts stay in 16 bits,
    which model/base_checks.py notices.

    Args:
        quantize: (weight, kind, double_quant=...) -> parameter.
        absent: whether the files have no experts: then they are left out of the model.
    """
    import_bitsandbytes()
    from transformers.quantizers import auto

    mapping: dict[str, Any] = auto.AUTO_QUANTIZER_MAPPING
    before = mapping["bitsandbytes_4bit"]
    mapping["bitsandbytes_4bit"] = _quantizer(quantize, absent)
    try:
        yield
    finally:
        mapping["bitsandbytes_4bit"] = before


@cache
def _quantizer(quantize: Callable[..., Any], absent: bool) -> Any:
    from transformers.integrations.bitsandbytes import Bnb4bitQuantize
    from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer

    class Quantize(Bnb4bitQuantize):
        def convert(self, input_dict: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
            found = {}
            for name in self.hf_quantizer.stacks & input_dict.keys():
                value = input_dict.pop(name)
                how = self.hf_quantizer.quantization_config
                found[name] = quantize(
                    value[0] if isinstance(value, list) else value,
                    how.bnb_4bit_quant_type,
                    double_quant=how.bnb_4bit_use_double_quant,
                )
            return found | super().convert(input_dict, *args, **kwargs)

    class Quantizer(Bnb4BitHfQuantizer):
        stacks: frozenset[str] = frozenset()

        def _process_model_before_weight_loading(
            self, model: "PreTrainedModel", *args: object, **kw: object
        ) -> Any:
            result = super()._process_model_before_weight_loading(model, *args, **kw)
            names = []
            for name, module, stacks in expert_modules(model):
                names += [f"{name}.{stack}" for stack in stacks]
                for stack in stacks if absent else ():
                    module.register_parameter(stack, None)
                    # Nothing is left to initialize.
                    setattr(module, "_is_hf_initialized", True)  # noqa: B010 - mypy
            self.stacks = frozenset(names)
            return result

        def _convert_model_for_quantization(self, model: "PreTrainedModel") -> None:
            """Leave Llama 4's stacks. Others' 4-bit files of it hold linear layers instead."""
            if not absent:
                super()._convert_model_for_quantization(model)  # type: ignore[no-untyped-call]

        def param_needs_quantization(
            self, model: "PreTrainedModel", param_name: str, **kwargs: object
        ) -> bool:
            if param_name in self.stacks:
                return True
            return bool(super().param_needs_quantization(model, param_name, **kwargs))

        def get_quantize_ops(self) -> Any:
            return Quantize(self)  # type: ignore[no-untyped-call]

    return Quantizer


def save_without(
    model: "PreTrainedModel | PeftModel", names: "set[str]", folder: Path, **how: Any
) -> None:
    """Save a model without the parameters `names`, by the names that it has in memory.

    `save_pretrained` would divide stacks of experts into matrices, which 4-bit stacks are not,
    unless `save_original_format` is false. It ignores a given state dict of a quantized model.
    """
    taken = []
    try:
        for name in names:
            holder, _, own = name.rpartition(".")
            module = model.get_submodule(holder)
            taken.append((module, own, getattr(module, own)))
            module.register_parameter(own, None)
        saving: Any = model
        saving.save_pretrained(folder, save_original_format=False, **how)
    finally:
        for module, own, parameter in taken:
            module.register_parameter(own, parameter)
