"""An adapter's folder or hub id -> its settings and weights; nothing in its files is run."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.errors import ModelError, first_line
from anima_exp.model import hub
from anima_exp.paths import expanded

if TYPE_CHECKING:
    import torch

SETTINGS = "adapter_config.json"
_SAFE, _PICKLED = "adapter_model.safetensors", "adapter_model.bin"


def settings(place: str, *, key: str = "adapter") -> dict[str, Any]:
    """What the adapter's adapter_config.json says.

    Args:
        key: the setting that names `place`; it opens the error message.

    Raises:
        ModelError: there is no adapter, or its settings cannot be read.
    """
    file = files(place, key=key) / SETTINGS
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{key}={place}: its {SETTINGS} cannot be read: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("peft_type"), str):
        raise ModelError(f"{key}={place}: its {SETTINGS} names no peft_type, so it is not PEFT's.")
    return found


def weights(place: str, *, key: str = "adapter") -> "dict[str, torch.Tensor]":
    """Its tensors by name, on the CPU: of safetensors, else of PEFT's older .bin file.

    A .bin file is a pickle, which may hold any program: only tensors are accepted.

    Raises:
        ModelError: there are none, the file is damaged, or it holds something else as well.
    """
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    where = f"{key}={place}"
    file = weights_file(place, key=key)
    try:
        if file.name == _SAFE:
            return load_file(file)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{where}: {_PICKLED} is damaged, or holds more than weights, which could run a "
            f"program here. Nothing of it was run. Ask its author for {_SAFE}."
        ) from error
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        reason = first_line(error)
        raise ModelError(f"{where}: its weights cannot be read: {reason}") from error
    if not isinstance(found, dict) or not all(
        isinstance(value, torch.Tensor) for value in found.values()
    ):
        raise ModelError(f"{where}: {_PICKLED} holds something else than named weights.")
    return found


def weights_file(place: str, *, key: str = "adapter") -> Path:
    """The file of its weights on this machine, safetensors before PEFT's older .bin.

    Raises:
        ModelError: there is neither.
    """
    for name in (_SAFE, _PICKLED):
        if file := _file(place, name, key=key):
            return file
    raise ModelError(f"{key}={place} holds no weights: neither {_SAFE} nor {_PICKLED}.")


def files(place: str, *, key: str = "adapter") -> Path:
    """The local folder with its adapter_config.json; of a hub id, in the hub's cache."""
    file = _file(place, SETTINGS, key=key)
    if file is None:
        raise ModelError(f"{key}={place} is no adapter: it holds no {SETTINGS}.{_hint(place, key)}")
    return file.parent


def folder_of(place: str) -> Path | None:
    """The local folder that `place` names, if there is one: it wins over a hub id."""
    folder = expanded(place, "adapter")
    return folder if folder.is_dir() else None


def _file(place: str, name: str, *, key: str) -> Path | None:
    """The file `name` of an adapter, on this machine; None if the adapter has no such file."""
    if folder := folder_of(place):
        return folder / name if (folder / name).is_file() else None
    if not hub.is_id(place):
        raise ModelError(f"{key}={place}: there is no such folder, and it is no hub id.")
    return hub.file(place, name, where=f"{key}={place}")


def _hint(place: str, key: str) -> str:
    folder = expanded(place, key)
    if (folder / "adapter" / SETTINGS).is_file():
        way = f"run={place} or {key}={place}/adapter" if key == "adapter" else f"{place}/adapter"
        return f" Give {way}."
    if (folder / "config.json").is_file():
        return " It is a whole model: use model=local model.source=FOLDER."
    return ""
