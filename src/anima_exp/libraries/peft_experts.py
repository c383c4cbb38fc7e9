"""The parts of PEFT's LoRA for experts that its documentation does not promise.

They were read in PEFT 0.19 to 0.21. Each function says what it uses and what a change of it would
break; tests/contracts/test_peft_experts.py checks every one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def is_expert_wrapper(module: "nn.Module") -> bool:
    """Return whether a module adapts a stack of experts: PEFT's class ParamWrapper."""
    return type(module).__name__ == "ParamWrapper"


def _lora(wrapper: "nn.Module") -> Any:
    return wrapper


def adapted_stack(wrapper: "nn.Module") -> str:
    """Return the name of the parameter that a ParamWrapper adapts: `parameter_name`."""
    return str(_lora(wrapper).parameter_name)


def inner_module(wrapper: "nn.Module") -> Any:
    """Return the module with the experts: a ParamWrapper may be inside another one."""
    return _lora(wrapper).get_base_layer()


def expert_adapter(wrapper: "nn.Module") -> str | None:
    """Return the one adapter that a ParamWrapper adds now; None if there is none.

    Raises:
        ValueError: if several adapters are active, whose sum is not computed here.
    """
    layer = _lora(wrapper)
    if layer.disable_adapters or layer.merged:
        return None
    names = [str(name) for name in layer.active_adapters if name in layer.lora_A]
    if len(names) > 1:
        raise ValueError(f"several adapters of experts are active: {', '.join(names)}")
    return names[0] if names else None


def expert_update(wrapper: "nn.Module", adapter: str) -> "tuple[Tensor, Tensor, float]":
    """Return A [experts * rank, in], B [out, rank * experts] and s, all as PEFT stores them.

    The columns of B are those of all experts for the first rank, then for the second one.
    """
    layer = _lora(wrapper)
    a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    return a, b, float(layer.scaling[adapter])


def by_expert(a: "Tensor", b: "Tensor", experts: int) -> "tuple[Tensor, Tensor]":
    """Return views of A [experts, rank, in] and B [experts, out, rank]."""
    rank = len(a) // experts
    return a.view(experts, rank, -1), b.view(len(b), rank, experts).permute(2, 0, 1)


def delta_is_transposed(wrapper: "nn.Module") -> bool:
    """Return whether a stack [experts, in, out] gets A^T B^T: `_did_swap_in_out_features` is false.

    PEFT decides it by the attribute `is_transposed` of the module, and for any other module
    adds B A.
    """
    return not _lora(wrapper)._did_swap_in_out_features


@contextmanager
def keep_names() -> Iterator[None]:
    """Inside, PEFT applies the names of an adapter's layers as they are.

    It would otherwise turn gate_proj, up_proj and down_proj of a mixture of experts into stacks of
    experts, as they were named in transformers 4: layers of a shared expert, or of a dense first
    block, would get no adapter. The function `convert_peft_config_for_transformers` does so, and
    `convert_peft_adapter_state_dict_for_transformers` for the weights of a stored adapter.
    """
    from peft.utils import transformers_weight_conversion

    module: Any = transformers_weight_conversion
    before = (
        module.convert_peft_config_for_transformers,
        module.convert_peft_adapter_state_dict_for_transformers,
    )
    module.convert_peft_config_for_transformers = lambda *_, **__: None
    module.convert_peft_adapter_state_dict_for_transformers = _as_stored
    try:
        yield
    finally:
        (
            module.convert_peft_config_for_transformers,
            module.convert_peft_adapter_state_dict_for_transformers,
        ) = before


def _as_stored(*, adapter_state_dict: object, **_: object) -> object:
    """Return the weights unchanged. PEFT passes them by name."""
    return adapter_state_dict


def would_rename(adapted: "nn.Module") -> bool:
    """Return whether PEFT would change the names of a new adapter when it loads the adapter.

    `adapted` is PEFT's model, made inside `keep_names`; its one config is tried.
    """
    from copy import deepcopy

    from peft.utils import transformers_weight_conversion

    model: Any = adapted
    (config,) = model.peft_config.values()
    tried = deepcopy(config)
    transformers_weight_conversion.convert_peft_config_for_transformers(
        tried, model=model.get_base_model(), conversions=None
    )
    names = "target_modules", "target_parameters"
    return any(set(getattr(tried, n) or ()) != set(getattr(config, n) or ()) for n in names)


@contextmanager
def with_shapes(places: "Sequence[tuple[Any, str, Tensor]]") -> Iterator[None]:
    """Inside, let PEFT see the shapes of 4-bit stacks: (module, name, stand-in of that shape).

    A ParamWrapper reads the sizes, the type and the device of `getattr(module, name)`.
    """
    kept = [(module, name, getattr(module, name)) for module, name, _ in places]
    for module, name, stand_in in places:
        module.register_parameter(name, stand_in)
    try:
        yield
    finally:
        for module, name, parameter in kept:
            module.register_parameter(name, parameter)
