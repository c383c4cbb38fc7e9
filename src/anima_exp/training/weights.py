"""The weights that learn -> the files of a checkpoint, and back into the same model."""

from pathlib import Path
from typing import Any

from anima_exp import json_text
from anima_exp.errors import RunError

ADAPTER = "adapter_model.safetensors"
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


def save(model: Any, folder: Path) -> None:
    """Write the adapter as PEFT does; with lora=none the whole model, by its own names."""
    own_names = {} if hasattr(model, "peft_config") else {"save_original_format": False}
    model.save_pretrained(folder, **own_names)


def load(model: Any, folder: Path) -> None:
    """Copy the weights of a checkpoint into `model`.

    Raises:
        RunError: they are not those of this model.
    """
    from safetensors.torch import load_file

    if (folder / ADAPTER).exists():
        from peft import set_peft_model_state_dict

        found: Any = set_peft_model_state_dict(model, load_file(folder / ADAPTER))
        missing = [name for name in found.missing_keys if "lora_" in name]
        _check(folder, [*found.unexpected_keys, *missing])
        return
    files = [_WHOLE]
    if not (folder / _WHOLE).exists():
        files = sorted(set(json_text.read_table(folder / _INDEX)["weight_map"].values()))
    loaded: set[str] = set()
    for name in files:
        tensors = load_file(folder / name)
        _check(folder, model.load_state_dict(tensors, strict=False).unexpected_keys)
        loaded |= tensors.keys()
    # Of weights that are tied only one is in a file.
    there = {one.data_ptr() for name, one in model.state_dict().items() if name in loaded}
    _check(folder, [n for n, one in model.named_parameters() if one.data_ptr() not in there])


def _check(folder: Path, names: list[str]) -> None:
    if names:
        raise RunError(
            f"{folder} does not fit this model: {len(names)} weights differ, the first is "
            f"{names[0]}. Use the versions of the libraries that wrote it (settings are in the "
            "run's folder); or give this run another folder=... to train it anew."
        )
