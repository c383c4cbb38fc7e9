"""Read the rotary positions of transformers' models, which its documentation does not promise.

It belongs to transformers_internals.py and keeps its rules. Contract tests of the same name check
every function.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedConfig, PreTrainedModel


def rotary_parts(model: "PreTrainedModel | PeftModel") -> list[Any]:
    """Return the modules that compute the angles of rotary positions, for all layers at once.

    They hold the frequencies in a buffer whose name ends with `inv_freq`. Older releases (5.17)
    compute the angles by a matrix product. Under another name it may be in TF32 (model/tf32.py).
    """
    return [
        module
        for module in model.modules()
        if any(name.endswith("inv_freq") for name, _ in module.named_buffers(recurse=False))
    ]


def rope_settings(config: "PreTrainedConfig") -> dict[str, dict[str, Any]]:
    """Return the settings of rotary positions by type of layer; "" stands for all layers.

    They are `config.rope_parameters`, either one table or a table for each type of layer. Under
    another name the report before training would lack them.
    """
    held = getattr(config, "rope_parameters", None) or {}
    if any(isinstance(one, dict) for one in held.values()):
        return {where: one for where, one in held.items() if isinstance(one, dict)}
    return {"": held} if held else {}


def rope_types(part: "torch.nn.Module") -> dict[str, str]:
    """Return the types with which a rotary module was built: `rope_type`, by type of layer.

    A module without the attribute has none, and is not compared with the config.
    """
    built = getattr(part, "rope_type", None)
    if isinstance(built, dict):
        return {str(where): str(one) for where, one in built.items()}
    return {"": str(built)} if built else {}
