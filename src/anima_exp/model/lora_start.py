"""Hold the update that a LoRA layer starts from and subtracts: W - s B0 A0 + s B A.

PiSSA and OLoRA start A and B at parts of W, and take s B0 A0 away from it. PEFT changes W itself,
and quantizes it a second time. Here W stays as it is, and the layer computes the difference. So the
model starts exactly at its base, the quantized cache stays valid, and the trained adapter is
exactly a plain one of twice the rank on the original base: [A; A0] and [B, -B0].
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from anima_exp.libraries.peft_internals import lora_layers, plain_adapter, update_of

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_A, _B = "start_A", "start_B"  # buffers of a LoRA layer, which PEFT does not save


def hold_start(layer: Any, adapter: str) -> None:
    """Let a layer subtract the update that it has now."""
    for name, weight in zip((_A, _B), update_of(layer, adapter)[:2], strict=True):
        layer.register_buffer(name, weight.detach().clone(), persistent=False)


def start_of(layer: Any) -> tuple[Tensor, Tensor] | None:
    """Return A0 and B0 of a layer; None if it subtracts nothing."""
    return (getattr(layer, _A), getattr(layer, _B)) if hasattr(layer, _A) else None


def starts(model: "PreTrainedModel | PeftModel") -> dict[str, Tensor]:
    """Return every A0 and B0 by its full name."""
    return {
        f"{name}.{part}": getattr(layer, part)
        for name, layer in lora_layers(model)
        if start_of(layer)
        for part in (_A, _B)
    }


def as_plain_adapter(model: "PreTrainedModel | PeftModel", folder: Path) -> None:
    """Rewrite an adapter that PEFT has saved to `folder` as a plain one of twice the rank.

    A model whose layers subtract nothing keeps its files as they are.
    """
    from safetensors.torch import load_file, save_file

    layers = {name: layer for name, layer in lora_layers(model) if start_of(layer)}
    if not layers:
        return
    file, about = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    tensors = load_file(file)
    for name, layer in layers.items():
        a0, b0 = (one.detach().cpu() for one in start_of(layer) or ())
        a, b = f"{name}.lora_A.weight", f"{name}.lora_B.weight"
        tensors[a] = torch.cat([tensors[a], a0.to(tensors[a].dtype)])
        tensors[b] = torch.cat([tensors[b], -b0.to(tensors[b].dtype)], dim=1)
    save_file({name: one.contiguous() for name, one in tensors.items()}, file, {"format": "pt"})
    settings = json.loads(about.read_text(encoding="utf-8"))
    # alpha / rank stays the same, or for rsLoRA alpha / sqrt(rank).
    factor = math.sqrt(2) if settings.get("use_rslora") else 2
    settings["r"] *= 2
    settings["lora_alpha"] *= factor
    for key, times in (("rank_pattern", 2), ("alpha_pattern", factor)):
        settings[key] = {name: times * one for name, one in (settings.get(key) or {}).items()}
    about.write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")


def cast_starts(model: "PreTrainedModel | PeftModel") -> None:
    """Give every A0 and B0 the type and the device of A and B."""
    for _, layer in lora_layers(model):
        adapter = plain_adapter(layer)
        if start_of(layer) and adapter is not None:
            a, b, _ = update_of(layer, adapter)
            setattr(layer, _A, getattr(layer, _A).to(a))
            setattr(layer, _B, getattr(layer, _B).to(b))
