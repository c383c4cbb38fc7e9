"""The parts of PEFT that we use although its documentation does not promise them.

They were read in PEFT 0.19 to 0.21. Each function says what it uses and what a change of it would
break; tests/contracts/test_peft.py checks every one.
"""

import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

# PEFT's layers that have a linear A, around a base that is no linear layer.
_NOT_LINEAR = ("Conv1d", "Conv2d", "Conv3d", "MultiheadAttention", "ParamWrapper")


def base_of(model: Any) -> Any:
    """Return the transformers model inside PEFT's wrapper, or `model` itself without one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def lora_layers(model: "nn.Module") -> list[tuple[str, Any]]:
    """Return every LoRA layer of a model by its full name: an instance of `LoraLayer`."""
    peft = sys.modules.get("peft.tuners.lora")
    if peft is None:  # no model has an adapter yet
        return []
    layer = peft.LoraLayer
    return [(name, module) for name, module in model.named_modules() if isinstance(module, layer)]


def variant_of(layer: Any) -> list[str]:
    """Return the attributes of a LoRA layer that say it computes more than W x + s B A x.

    DoRA and its like are in `lora_variant` and `lora_magnitude_vector`, biases in `lora_bias`. A
    variant that a release keeps elsewhere would be trained as plain LoRA.
    """
    present = (
        ("lora_variant", layer.lora_variant),
        ("lora_magnitude_vector", layer.lora_magnitude_vector),
        ("lora_bias", [one for one in layer.lora_bias.values() if one]),
    )
    return [attribute for attribute, value in present if len(value)]


def is_dora(layer: Any) -> bool:
    """Return whether every variant of a LoRA layer is DoRA, by the names of PEFT's classes."""
    kinds = {type(one).__name__ for one in layer.lora_variant.values()}
    return kinds == {"DoraLinearVariant"} and not any(layer.lora_bias.values())


def plain_adapter(layer: Any) -> str | None:
    """Return the one adapter that a LoRA layer adds to its base now.

    None: the adapters are off or merged, there are several, or the one is not in this layer. Nor
    is it plain where the base is no linear layer: embeddings keep their A elsewhere, convolutions
    have another, attention takes three inputs, and a `ParamWrapper` adapts a tensor of experts.
    All these are left to PEFT.
    """
    if layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1:
        return None
    name = str(layer.active_adapters[0])
    if name not in layer.lora_A or type(layer).__name__ in _NOT_LINEAR:
        return None
    return name


def base_layer(layer: "nn.Module") -> Any:
    """Return the frozen layer that computes W x."""
    return layer.base_layer


def update_of(layer: Any, adapter: str) -> tuple["Tensor", "Tensor", float]:
    """Return A [rank, in], B [out, rank] and s of the sum W x + s B A x."""
    return layer.lora_A[adapter].weight, layer.lora_B[adapter].weight, layer.scaling[adapter]


def dropout_of(layer: Any, adapter: str) -> float:
    """Return the probability of dropping an input of A; no dropout is another module without p."""
    return float(getattr(layer.lora_dropout[adapter], "p", 0.0))


def belongs_to_adapter(name: str) -> bool:
    """Return whether the name of a weight is an adapter's: `lora_A`, `lora_embedding_B`."""
    return "lora_" in name


def copies_of_whole_modules(model: "nn.Module") -> list[tuple["nn.Module", "nn.Module"]]:
    """Return each module that is trained as a whole, with its copy, which is the trained one.

    They are `original_module` and the entries of `modules_to_save` of a ModulesToSaveWrapper.
    """
    wrappers: list[Any] = [
        one for one in model.modules() if type(one).__name__ == "ModulesToSaveWrapper"
    ]
    return [
        (wrapper.original_module, copy)
        for wrapper in wrappers
        for copy in wrapper.modules_to_save.values()
    ]


def keeps_tied(name: str) -> bool:
    """Return whether PEFT's ensure_weight_tying knows a table of embeddings of this name.

    It looks for the names of EMBEDDING_LAYER_NAMES alone.
    """
    from peft.utils.constants import EMBEDDING_LAYER_NAMES

    return name.rpartition(".")[2] in EMBEDDING_LAYER_NAMES


def is_adapter_dropout(name: str) -> bool:
    """Return whether the name of a module is that of an adapter's dropout."""
    return "lora_dropout" in name


def adapts_experts(model: "nn.Module") -> bool:
    """Return whether PEFT has adapted experts, which are no layers, by its class ParamWrapper."""
    return any(type(module).__name__ == "ParamWrapper" for module in model.modules())


def cannot_adapt_experts(error: ValueError) -> bool:
    """Return whether PEFT refused to adapt such tensors: the error names its class."""
    return "ParamWrapper" in str(error)


def refused_layer(error: ValueError) -> str | None:
    """Return the last part of the name of a layer that PEFT refuses in Mamba's families.

    Their kernels read its weight directly. The error quotes the name after "Module".
    """
    found = re.search(r"Module '(?:[\w.]*\.)?(\w+)' is incompatible", str(error))
    return found[1] if found else None


def says_other_sizes(error: Exception) -> bool:
    """Return whether an adapter's weights have other sizes than its layers, in torch's words."""
    return "size mismatch" in str(error)


def says_no_layer(error: Exception) -> bool:
    """Return whether none of the layers that an adapter names is in the base."""
    return "not found in the base model" in str(error)


def without_layer(unexpected: Iterable[str]) -> list[str]:
    """Return the adapter's weights for which the model has no layer.

    `set_peft_model_state_dict` returns torch's `unexpected_keys`, weights of the base among them.
    """
    return [key for key in unexpected if belongs_to_adapter(key)]


def without_weight(missing: Iterable[str], adapter: str) -> list[str]:
    """Return the weights of the layers of `adapter` that were not given.

    `set_peft_model_state_dict` returns torch's `missing_keys`: those of the base, which no adapter
    has, and those of other adapters.
    """
    own = (key for key in missing if belongs_to_adapter(key) or is_trained_copy(key))
    return [key for key in own if f".{adapter}" in key]


def layer_of(key: str) -> str:
    """Return the name that a base has for the layer of an adapter's weight."""
    return re.sub(r"^(base_model\.model\.)?(.*?)\.lora_.*$", r"\2", key)


_WRAPPERS = re.compile(
    r"^base_model\.model\.|\.base_layer|\.original_module|\.modules_to_save\.\w+"
    r"|\.lora_\w+?(\.\w+)*$"
)


def name_in_base(name: str) -> str:
    """Return the name that a base has for a parameter or module, or for what an adapter adapts.

    PEFT wraps a layer as `base_layer`, and a module that is trained whole as `original_module`
    next to its trained copy in `modules_to_save`.
    """
    return _WRAPPERS.sub("", name)


def is_trained_copy(name: str) -> bool:
    """Return whether a parameter is the trained copy of a module of the base."""
    return ".modules_to_save." in name


def adapted_place(name: str, layer: Any) -> str:
    """Return the name of what a LoRA layer adapts: of a `ParamWrapper`, one parameter of it."""
    parameter = getattr(layer, "parameter_name", None)
    return f"{name}.{parameter}" if parameter else name
