"""A plan -> a folder that transformers loads: weights, config, tokenizer; one file in memory."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from anima_exp.merge.base import file
from anima_exp.merge.plan import Plan, store_in
from anima_exp.model.tokenizer import load_tokenizer, location
from anima_exp.results.files import write_json

_INDEX = "model.safetensors.index.json"
_GENERATION = "generation_config.json"
_SENTENCEPIECE = "tokenizer.model"


def write(plan: Plan, folder: Path, written: Callable[[int], None]) -> None:
    """Write the merged model; `written` is told the bytes of each tensor.

    Raises:
        ModelError: a tensor cannot be stored in the chosen type.
        OSError, SafetensorError: the disk is full.
    """
    folder.mkdir()
    write_json(folder / "config.json", _config(plan))
    _write_weights(plan, folder, written)
    model = plan.config.model
    # Of tokenizers that have sentencepiece's file, llama.cpp's converter reads that.
    for name in (_GENERATION, *([] if model.tokenizer else [_SENTENCEPIECE])):
        if found := file(model, name):
            shutil.copyfile(found, folder / name)
    if model.trust_remote_code and Path(location(model.source)).is_dir():
        for code in Path(location(model.source)).glob("*.py"):
            shutil.copyfile(code, folder / code.name)
    load_tokenizer(model, to_copy=True).save_pretrained(folder)


def _write_weights(plan: Plan, folder: Path, written: Callable[[int], None]) -> None:
    from safetensors.torch import save_file

    count, where = len(plan.shards), {}
    for number, shard in enumerate(plan.shards, 1):
        name = f"model-{number:05}-of-{count:05}.safetensors" if count > 1 else "model.safetensors"
        tensors: dict[str, torch.Tensor] = {}
        for piece in shard:
            tensors[piece.name] = plan.merged(piece)
            where[piece.name] = name
            written(piece.bytes)
        save_file(tensors, folder / name, metadata={"format": "pt"})
        shutil.copymode(folder / "config.json", folder / name)  # not for the owner's eyes only
    if count > 1:
        about = {"metadata": {"total_size": plan.bytes}, "weight_map": where}
        write_json(folder / _INDEX, about)


def _config(plan: Plan) -> dict[str, Any]:
    """The base's own config.json with the type of the new weights."""
    model = plan.config.model
    config: dict[str, Any] = json.loads(json.dumps(plan.base.config))
    config.pop("_name_or_path", None)  # where somebody once loaded it from
    dtype = str(store_in(plan.config, plan.base.dtype)).removeprefix("torch.")
    inner = [one for one in config.values() if isinstance(one, dict)]
    for part in (config, *inner):
        for key in ("dtype", "torch_dtype"):  # the latter is what older transformers read
            if key in part:
                part[key] = dtype
    if "torch_dtype" not in config:
        config["dtype"] = dtype
    code = config.get("auto_map")
    if code and not Path(location(model.source)).is_dir():  # the hub's: it stays there
        config["auto_map"] = {
            key: name if "--" in name else f"{model.source}--{name}" for key, name in code.items()
        }
    return config
