"""Find a model's shape: from conf/model, from a folder's config.json, or from the hub's."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from anima_exp.config import ModelConfig
from anima_exp.errors import ModelError, first_line
from anima_exp.libraries import hub
from anima_exp.planner.shape import FAMILIES, Shape, from_config, from_model
from anima_exp.system import json_files
from anima_exp.system.paths import expanded, tiny_base


def find_shape(model: ModelConfig) -> Shape:
    """Return a model's shape. torch is imported only for families outside of `shape.FAMILIES`.

    Raises:
        ModelError: if there is no config.json, or it is not that of a causal language model.
    """
    found = _config(model)
    if found.get("model_type") in FAMILIES:
        return from_config(found)
    return _without_weights(model, found)


def shape_of_folder(model: ModelConfig) -> Shape | None:
    """Return the shape of a base in a local folder if it takes neither torch nor the network."""
    folder = tiny_base() if model.source == "tiny" else expanded(model.source, "model.source")
    if not (folder / "config.json").is_file():
        return None
    found = _read(model, folder / "config.json")
    return from_config(found) if found.get("model_type") in FAMILIES else None


def _config(model: ModelConfig) -> dict[str, Any]:
    folder = tiny_base() if model.source == "tiny" else expanded(model.source, "model.source")
    if folder.is_dir():
        return _read(model, folder / "config.json")
    if model.shape is not None:
        # A value of null stands for transformers' default.
        return {key: value for key, value in asdict(model.shape).items() if value is not None}
    where = f"model.source={model.source}"
    found = hub.file(model.source, "config.json", where=where, revision=model.revision)
    if found is None:
        raise ModelError(
            f"{where} has no config.json on the hub, so its size is unknown. Use "
            "model.source=FOLDER with a folder that holds a config.json; a plan reads nothing else."
        )
    return _read(model, found)


def _read(model: ModelConfig, file: Path) -> dict[str, Any]:
    try:
        found = json_files.read_file(file)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"model.source={model.source}: its config.json cannot be read: {error}"
        ) from error
    if not isinstance(found, dict):
        raise ModelError(f"model.source={model.source}: its config.json holds no JSON object.")
    return found


def _without_weights(model: ModelConfig, values: dict[str, Any]) -> Shape:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    kind = values.pop("model_type", None)
    try:
        config = AutoConfig.for_model(kind, **values)
        with torch.device("meta"):
            return from_model(AutoModelForCausalLM.from_config(config))
    except (ValueError, KeyError, AttributeError) as error:
        reason = first_line(error)
        raise ModelError(
            f"model.source={model.source}: a model of type '{kind}' cannot be planned: {reason}"
        ) from error
