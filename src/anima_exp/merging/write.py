"""Write a merged model as a folder for transformers, with one weight file in memory at a time."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from anima_exp.config import MergeConfig
from anima_exp.errors import DataError
from anima_exp.evals.heldout_check import check_heldout
from anima_exp.inference.saved_model import (
    find_run_of_adapter,
    model_label,
    use_saved_template,
)
from anima_exp.merging import verdict
from anima_exp.merging.adapter import Adapter
from anima_exp.merging.tensor_plan import Plan, short, store_in
from anima_exp.merging.verification import VerificationResult
from anima_exp.model.stored_tensors import file
from anima_exp.model.tokenizer import load_tokenizer, resolve_source, with_end
from anima_exp.model_card import card as merged
from anima_exp.model_card import card as of_run
from anima_exp.model_card import origin
from anima_exp.model_card.card import FILE
from anima_exp.results import identity, provenance
from anima_exp.system import json_files, paths
from anima_exp.system.atomic import write_json

_INDEX = "model.safetensors.index.json"
_GENERATION = "generation_config.json"
_OF_GENERATION = ("bos_token_id", "eos_token_id", "pad_token_id")
_SENTENCEPIECE = "tokenizer.model"


def write(plan: Plan, folder: Path, written: Callable[[int], None]) -> None:
    """Write the merged model. `written` is called with the bytes of each tensor.

    Raises:
        ModelError: if a tensor cannot be stored in the chosen type.
        OSError, SafetensorError: if the disk is full.
    """
    folder.mkdir()
    write_json(folder / "config.json", _config(plan))
    _write_weights(plan, folder, written)
    model = plan.config.model
    # llama.cpp's converter reads sentencepiece's file if the tokenizer has one.
    for filename in (_GENERATION, *([] if model.tokenizer else [_SENTENCEPIECE])):
        if found := file(model, filename):
            shutil.copyfile(found, folder / filename)
    if model.trust_remote_code and Path(resolve_source(model.source)).is_dir():
        for code in Path(resolve_source(model.source)).glob("*.py"):
            shutil.copyfile(code, folder / code.name)
    tokenizer = load_tokenizer(model, to_copy=True)
    use_saved_template(tokenizer, plan.config)
    tokenizer.save_pretrained(folder)
    if tokenizer.chat_template:
        _end_at(tokenizer.eos_token_id, plan.base.config, folder / _GENERATION)


def _end_at(end: int, base: Mapping[str, Any], file: Path) -> None:
    """Let generation stop at the token that ends the answers of the chat template."""
    # Without the file, transformers takes these from config.json.
    given = {key: base[key] for key in _OF_GENERATION if base.get(key) is not None}
    if file.exists():
        given = json_files.read_table(file)
    ends = with_end(given.get("eos_token_id"), end)
    if ends != given.get("eos_token_id"):
        write_json(file, {**given, "eos_token_id": ends})


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
        shutil.copymode(
            folder / "config.json", folder / name
        )  # safetensors are owner-only by default
    if count > 1:
        about = {"metadata": {"total_size": plan.bytes}, "weight_map": where}
        write_json(folder / _INDEX, about)


def _config(plan: Plan) -> dict[str, Any]:
    """Return the base's config.json with the type of the merged weights."""
    model = plan.config.model
    config: dict[str, Any] = json.loads(json.dumps(plan.base.config))
    config.pop("_name_or_path", None)  # a path from which the model was once loaded
    dtype = str(store_in(plan.config, plan.base.dtype)).removeprefix("torch.")
    inner = [one for one in config.values() if isinstance(one, dict)]
    for part in (config, *inner):
        for key in ("dtype", "torch_dtype"):  # older versions of transformers read torch_dtype
            if key in part:
                part[key] = dtype
    if "torch_dtype" not in config:
        config["dtype"] = dtype
    code = config.get("auto_map")
    if code and not Path(resolve_source(model.source)).is_dir():  # code on the hub stays there
        config["auto_map"] = {
            key: name if "--" in name else f"{model.source}--{name}" for key, name in code.items()
        }
    return config


# The metadata of a merge: merge.json and a model card.


MERGED = "merge.json"
# The settings that decide the merged weights, and the rows of their verification.
_DECIDE = ("model.", "quant.", "lora.", "data.", "trainer.precision", "max_shard_gib", "verify_")


def write_metadata(merging: Plan, result: VerificationResult | None, folder: Path) -> None:
    """Write merge.json and the model card, without paths of this machine.

    `result` is None if the merge was not verified.
    """
    config, settings = merging.config, identity.flatten(merging.config)
    source, revision = config.model.source, config.model.revision
    cache = paths.cache(config.cache_dir)
    fingerprint = provenance.base_fingerprint(resolve_source(source), revision, cache=cache)
    named = origin.without_places(settings)
    values = {
        "adapter": {"of": model_label(config), "weights": weights(merging.adapter)},
        "base": {"source": named["model.source"], "fingerprint": fingerprint},
        "onto": config.target.value,
        "dtype": _dtype(merging),
        "proof": asdict(result) if result else None,
        "max_divergence": verdict.allowed(config),
        "settings": {key: one for key, one in named.items() if key.startswith(_DECIDE)},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": provenance.versions(),
        "git": provenance.git_state(),
        "hardware": provenance.hardware(),
    }
    write_json(folder / MERGED, json_files.stamp(values, json_files.MERGE))
    merge = _merged(merging, result, settings, fingerprint)
    if config.run:
        run = Path(config.run)
        card = of_run.of_folder(run, run / "adapter", merge)
    else:
        card = merged.merged_card(model_label(config), settings, fingerprint, merge)
    (folder / FILE).write_text(card, encoding="utf-8")


def weights(adapter: Adapter) -> str:
    return identity.content_hash(str(adapter.file))


def _dtype(merging: Plan) -> str:
    return short(store_in(merging.config, merging.base.dtype))


def _trained_on(config: MergeConfig) -> list[str]:
    """Return a caution if the adapter may have been trained on the rows of the verification."""
    unknown = not config.run and find_run_of_adapter(config.adapter or "") is None
    try:
        check_heldout(config)
    except DataError:
        unknown = True
    return ["The adapter may have been trained on some of these rows."] * unknown


def _merged(
    merging: Plan, result: VerificationResult | None, settings: dict[str, Any], fingerprint: str
) -> merged.Merged:
    config, dtype = merging.config, _dtype(merging)
    sentences = ["The merged model has not been compared with the trained one (verify=false)."]
    if result:
        rows = f"{origin.data_origin(settings).description} ({origin.heldout(settings)})"
        sentences = [
            f"Measured on {result.labels:,} response tokens of {rows}.",
            *_trained_on(config),
            *(f"{one[0].upper()}{one[1:]}." for one in verdict.sentences(config, result)),
        ]
        if warning := verdict.warning(config, result):
            sentences.append(warning)
    return merged.Merged(
        facts=[
            ("adapter", f"{model_label(config)}, {len(merging.adapter.updates)} layers"),
            ("its weights", weights(merging.adapter)),
            ("merged into", origin.base_origin(settings, fingerprint).description),
            ("target", verdict.ONTO[config.target]),
            ("weights", dtype),
        ],
        verification=verdict.columns(config, result, dtype) if result else (),
        sentences=sentences,
        dtype=dtype,
        remote_code=config.model.trust_remote_code,
    )
