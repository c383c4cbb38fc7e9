"""Read an adapter's settings and weights from a folder or the hub, without running its files."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.errors import ModelError, first_line
from anima_exp.events import warn
from anima_exp.libraries import hub
from anima_exp.system import json_files
from anima_exp.system.paths import expanded, is_file, is_folder, known_path, tiny_base

if TYPE_CHECKING:
    import torch


SETTINGS = "adapter_config.json"
START = "start.safetensors"  # A0 and B0 in a checkpoint (training/weights.py)
_SAFE, _PICKLED = "adapter_model.safetensors", "adapter_model.bin"


def settings(place: str, *, key: str = "adapter") -> dict[str, Any]:
    """Return the content of the adapter's adapter_config.json.

    Args:
        key: the setting that names `place`; error messages start with it.

    Raises:
        ModelError: if there is no adapter, or its settings cannot be read.
    """
    file = files(place, key=key) / SETTINGS
    try:
        found = json_files.read_file(file)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{key}={place}: its {SETTINGS} cannot be read: {first_line(error)}"
        ) from error
    if (file.parent / START).exists():
        raise ModelError(
            f"{key}={place} is a checkpoint of a run with lora.init=pissa or olora: an adapter "
            "without what its layers subtract. Use the folder adapter/ of the finished run."
        )
    if not isinstance(found, dict) or not isinstance(found.get("peft_type"), str):
        raise ModelError(
            f"{key}={place}: its {SETTINGS} names no peft_type, so it is not an adapter of PEFT. "
            "Use an adapter that PEFT has saved."
        )
    return found


def weights(place: str, *, key: str = "adapter") -> "dict[str, torch.Tensor]":
    """Return the adapter's tensors by name, on the CPU.

    They are read from safetensors, or from PEFT's older .bin file. A .bin file is a pickle, which
    may hold any code, so only tensors are accepted.

    Raises:
        ModelError: if there are no weights, the file is damaged, or it holds anything but tensors.
    """
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    where = f"{key}={place}"
    file = weights_file(place, key=key)
    try:
        if file.name == _SAFE:
            return _checked(load_file(file), where)
        found = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{where}: {_PICKLED} is damaged, or holds more than weights, which could run code. "
            f"Nothing in it was run. Ask its author for {_SAFE}."
        ) from error
    except (OSError, SafetensorError, RuntimeError, EOFError) as error:
        reason = first_line(error)
        raise ModelError(f"{where}: its weights cannot be read: {reason}") from error
    if not isinstance(found, dict) or not all(
        isinstance(value, torch.Tensor) for value in found.values()
    ):
        raise ModelError(
            f"{where}: {_PICKLED} does not hold weights by name. Ask its author for {_SAFE}."
        )
    return _checked(found, where)


_INITS_THAT_CHANGE_THE_BASE = ("pissa", "olora", "corda", "lora_ga", "loftq")


def changes_the_base(settings: Mapping[str, Any]) -> str | None:
    """Return the initialization by which PEFT changes the base of an adapter, or None."""
    start = settings.get("init_lora_weights")
    known = isinstance(start, str) and start.lower().startswith(_INITS_THAT_CHANGE_THE_BASE)
    return str(start) if known else None


def layer_names(place: str, *, key: str = "adapter") -> list[str]:
    """Return the full names of the layers that the adapter has weights for, without torch.

    Raises:
        ModelError: if its weights are not in a safetensors file, or the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    file = weights_file(place, key=key)
    try:
        if file.name != _SAFE:
            raise ModelError(
                f"{key}={place} holds a pickle, {_PICKLED}, which is not read here. Convert it to "
                f"{_SAFE}."
            )
        with safe_open(file, framework="np") as opened:
            names = [plain_name(name) for name in opened.keys()]  # noqa: SIM118 - no mapping
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{key}={place}: {file.name} cannot be read: {error}") from error
    return sorted({name.partition(".lora_")[0] for name in names if ".lora_" in name})


def plain_name(name: str) -> str:
    """Return a weight's name as PEFT writes it, without the additions of other trainers.

    torch.compile adds `_orig_mod.` and DistributedDataParallel `module.`. A state dict that was
    saved without PEFT keeps the adapter's name: `lora_A.default.weight`.
    """
    name = name.replace("_orig_mod.", "").removeprefix("module.")
    name = re.sub(r"\.(lora_\w+|modules_to_save)\.default(\.weight|\.bias|$)", r".\1\2", name)
    return name.replace(".modules_to_save.", ".")


def check_weights(weights: "Mapping[str, torch.Tensor]", where: str) -> None:
    """Raise ModelError for tensors that are empty, not floating point, or not finite."""
    empty = [name for name, one in weights.items() if not one.numel()]
    if empty:
        raise ModelError(
            f"{where}: {len(empty)} of its {len(weights)} weights are empty. DeepSpeed ZeRO-3 "
            "saves them so unless it gathers them first. Convert the checkpoint with "
            "zero_to_fp32.py, or save it with stage3_gather_16bit_weights_on_model_save."
        )
    for name, one in weights.items():
        if one.is_meta:
            raise ModelError(f"{where}: {name} has no values: it was saved from the meta device.")
        if not one.is_floating_point():
            kind = str(one.dtype).removeprefix("torch.")
            raise ModelError(f"{where}: {name} is of type {kind}, not floating-point numbers.")
        if not one.float().isfinite().all():
            raise ModelError(
                f"{where}: {name} holds NaN or infinite values. Its training diverged, or the "
                "file is damaged."
            )


def added_tokens(
    name: str, rows: int, vocabulary: int, where: str, base: str
) -> "ModelError | None":
    """Return the error if a weight is an embedding or head for another vocabulary, else None."""
    if not name.endswith((".embed_tokens.weight", ".lm_head.weight", ".wte.weight")):
        return None
    if rows == vocabulary:
        return None
    return ModelError(
        f"{where} holds embeddings for {rows:,} tokens, but its base model {base} has "
        f"{vocabulary:,}: its trainer added tokens, which is not supported here. Merge it into a "
        "full model with that trainer or with PEFT, then use model.source=FOLDER."
    )


def _checked(weights: "dict[str, torch.Tensor]", where: str) -> "dict[str, torch.Tensor]":
    check_weights(weights, where)
    return {plain_name(name): one for name, one in weights.items()}


def weights_file(place: str, *, key: str = "adapter") -> Path:
    """Return the file with the adapter's weights: safetensors, or else PEFT's older .bin.

    Raises:
        ModelError: if there is neither.
    """
    for name in (_SAFE, _PICKLED):
        if file := optional_file(place, name, key=key):
            return file
    raise ModelError(f"{key}={place} holds no weights: neither {_SAFE} nor {_PICKLED}.")


def files(place: str, *, key: str = "adapter") -> Path:
    """Return the local folder with the adapter_config.json; for a hub id, in the hub's cache.

    Raises:
        ModelError: if there is no adapter.
    """
    file = optional_file(place, SETTINGS, key=key)
    if file is None:
        raise ModelError(
            f"{key}={place} is not an adapter: it holds no {SETTINGS}.{_hint(place, key)}"
        )
    return file.parent


def folder_of(place: str) -> Path | None:
    """Return the local folder that `place` names, or None. A folder wins over a hub id."""
    folder = expanded(place, "adapter")
    return folder if is_folder(folder) else None


def optional_file(place: str, name: str, *, key: str) -> Path | None:
    """Return the local path of an adapter's file `name`; None if the adapter has no such file."""
    if folder := folder_of(place):
        return folder / name if is_file(folder / name) else None
    if not hub.is_id(place):
        raise ModelError(f"{key}={place}: there is no such folder, and it is not a hub id.")
    return hub.file(place, name, where=f"{key}={place}")


def _hint(place: str, key: str) -> str:
    folder = expanded(place, key)
    if (folder / "adapter" / SETTINGS).is_file():
        way = f"run={place} or {key}={place}/adapter" if key == "adapter" else f"{place}/adapter"
        return f" Use {way}."
    if (folder / "config.json").is_file():
        return " It is a full model: use model=local model.source=FOLDER."
    return ""


def warn_of_another(place: str, used: str, *, key: str = "adapter") -> None:
    """Warn if an adapter names another base model than the one that it is loaded onto.

    This need not be a mistake: a base model may be in a folder, or have a copy of another name.
    """
    named = settings(place, key=key).get("base_model_name_or_path")
    if named and source(named) != source(used):
        warn(
            f"{key}={place} was trained on {named} but is loaded onto {used}. Unless these are "
            "the same weights, its output is meaningless."
        )


def source(named: str) -> str:
    """Normalize a base model's name: `tiny` for the embedded one, absolute paths for folders."""
    parts = Path(named).parts
    if named == "tiny" or parts[-3:] == tiny_base().parts[-3:]:
        return "tiny"
    folder = known_path(named)
    return str(folder.resolve()) if folder.is_dir() else named
