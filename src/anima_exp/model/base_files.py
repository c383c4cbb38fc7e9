"""Check the files of a base model in a local folder before a library reads them.

Libraries fail late and in many words on damaged or foreign files, or do not fail at all. This
module reads JSON files and the headers of weight files only, and imports no torch, so that `train`
can refuse a folder within a second.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from anima_exp.config import ModelConfig, QuantConfig, Quantization
from anima_exp.errors import ModelError
from anima_exp.libraries.transformers_loading import stored_type
from anima_exp.model.stored_types import (
    SIXTEEN_BITS,
    check_dequantizable,
    stored_quantization,
)
from anima_exp.model.weight_files import (
    INDEXES,
    WHOLE,
    check_content,
    check_weights,
    header,
    read_object,
    weight_files,
)
from anima_exp.system.paths import expanded, tiny_base

_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "merges.txt",
)  # fmt: skip
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "tekken.json")
_AGAIN = "Download the model again."


def check_base_files(model: ModelConfig, quant: QuantConfig | None = None) -> None:
    """Raise ModelError if `model.source` is a folder without a complete base model.

    A hub id is not checked: the hub's library compares what it downloads with its hash.

    Args:
        quant: the run's quantization, which must agree with the files; None = not checked.
    """
    folder = tiny_base() if model.source == "tiny" else expanded(model.source, "model.source")
    if not folder.is_dir():
        return
    where = f"model.source={model.source}"
    names = {path.name for path in folder.iterdir()}
    weights = [name for name in (*WHOLE, *INDEXES) if name in names]
    if "adapter_config.json" in names and not weights:
        raise ModelError(
            f"{where} is an adapter, not a base model. Choose the base model that it was trained "
            f"on with model=NAME or model.source=... If the command takes an adapter, add "
            f"adapter={model.source}."
        )
    if "config.json" not in names:
        raise ModelError(f"{where}: {_foreign(names) or _elsewhere(folder, names)}")
    config = read_object(folder / "config.json", where)
    if not weights:
        none = "the folder holds no weights: neither model.safetensors nor pytorch_model.bin."
        raise ModelError(f"{where}: {_foreign(names) or none}")
    if "adapter_config.json" in names:
        raise ModelError(
            f"{where} holds an adapter next to its weights (adapter_config.json), and transformers "
            "would load both as one. Move the adapter's files to another folder, or merge it first."
        )
    if quant is not None:
        check_stored_type(model.source, config, quant)
    quantized = "quantization_config" in config
    for name in weight_files(folder, weights[0], where):
        check_weights(folder / name, where, quantized=quantized)
    check_tokenizer_files(model)


def check_sizes(model: ModelConfig, sizes: Mapping[str, tuple[int, ...]], prefix: str) -> None:
    """Raise ModelError if a weight in a safetensors file has another shape than config.json says.

    transformers notices this only after loading, and not at all for weights that it quantizes.

    Args:
        sizes: the shapes that config.json describes, by name.
        prefix: a prefix of names in memory that is missing in files of the inner model.
    """
    folder = tiny_base() if model.source == "tiny" else expanded(model.source, "model.source")
    where = f"model.source={model.source}"
    first = next((name for name in (*WHOLE, *INDEXES) if (folder / name).is_file()), "")
    if not first.startswith("model.safetensors"):
        return
    odd = []
    for file in weight_files(folder, first, where):
        for name, one in (header(folder / file) or (0, {}))[1].items():
            wanted = sizes.get(name, sizes.get(f"{prefix}.{name}"))
            if wanted is not None and tuple(one["shape"]) != wanted:
                odd.append((name, tuple(one["shape"]), wanted))
    if odd:
        name, stored, wanted = min(odd)
        raise ModelError(
            f"{where}: {len(odd)} weights have other shapes than config.json says. The first is "
            f"{name} with {_by(stored)} numbers, not {_by(wanted)}. Its config.json belongs to "
            f"another model, or was edited. {_AGAIN}"
        )


def check_tokenizer_files(model: ModelConfig) -> None:
    """Raise ModelError if a file of the tokenizer's folder is empty or a Git LFS pointer."""
    source = model.tokenizer or model.source
    key = "model.tokenizer" if model.tokenizer else "model.source"
    folder = tiny_base() if source == "tiny" else expanded(source, key)
    for name in _TOKENIZER:
        if (folder / name).is_file():
            check_content(folder / name, f"{key}={source}")


def check_has_tokenizer(model: ModelConfig) -> None:
    """Raise ModelError if the tokenizer's folder holds no tokenizer."""
    source = model.tokenizer or model.source
    folder = expanded(source)
    if source == "tiny" or model.trust_remote_code or not folder.is_dir():
        return
    names = {path.name for path in folder.iterdir()}
    if not any(name in _VOCABULARIES or name.endswith((".model", ".tiktoken")) for name in names):
        key = "model.tokenizer" if model.tokenizer else "model.source"
        raise ModelError(
            f"{key}={source}: the folder holds no tokenizer.json and no other vocabulary. Download "
            "the tokenizer's files too, or set model.tokenizer=FOLDER_OR_HUB_ID."
        )


def _elsewhere(folder: Path, names: Iterable[str]) -> str:
    """Return the reason for a folder without config.json, with a subfolder that has one."""
    if not names:
        return "the folder is empty."
    inside = sorted(
        path.parent.relative_to(folder).as_posix()
        for pattern in ("*/config.json", "snapshots/*/config.json")
        for path in folder.glob(pattern)
    )
    if not inside:
        return "the folder holds no config.json."
    several = f", one of {len(inside)} such folders in it" if len(inside) > 1 else ""
    return (
        f"the folder holds no config.json, but {inside[0]} in it does{several}. Use "
        f"model.source={folder / inside[0]}."
    )


def _by(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes))


def _foreign(names: Iterable[str]) -> str | None:
    """Return the reason if a folder holds a model in another format, else None."""
    names = sorted(names)
    if any(name.endswith(".gguf") for name in names):
        return (
            "the folder holds GGUF files, which are made for inference with llama.cpp and cannot "
            "be trained here. Use the Hugging Face model that they were converted from."
        )
    if "params.json" in names or any(
        name.startswith("consolidated.") or (name.endswith(".pth") and name[0].isdigit())
        for name in names
    ):
        return (
            "the folder holds an original checkpoint (params.json, consolidated.*), not the "
            "Hugging Face format. Convert it with transformers' script, or use the converted "
            "model of the hub."
        )
    if any(name.endswith(".onnx") for name in names) or "onnx" in names:
        return (
            "the folder holds an ONNX export, which cannot be trained. Use the PyTorch model "
            "that it was exported from."
        )
    return None


# transformers loads a quantized base model as it is stored and ignores the requested quantization.
# A sweep over data types would then compare NF4 with NF4.


def check_stored_type(source: str, config: Mapping[str, Any], quant: QuantConfig) -> str | None:
    """Return the type in which the base model is stored; None if its weights are to be quantized.

    They are if the base is not quantized, or is stored in a format that is dequantized first
    (stored_types.py).

    Args:
        config: the content of the base's config.json.

    Raises:
        ModelError: if the type is unsupported, or it differs from `quant`.
    """
    stored = stored_quantization(config)
    if not stored:
        return None
    where = f"model.source={source} is already stored"
    sixteen = SIXTEEN_BITS
    named = stored_type(stored)
    kind = Quantization(named) if named else None
    if kind is None:
        check_dequantizable(source, stored)
        return None
    if quant.type is not kind:
        raise ModelError(
            f"{where} in {kind.value}, and quant.type={quant.type.value} cannot change that. "
            f"Use quant={kind.value}, or {sixteen}."
        )
    double = bool(stored.get("bnb_4bit_use_double_quant"))
    if kind is not Quantization.int8 and quant.double_quant is not double:
        how = "with" if double else "without"
        raise ModelError(
            f"{where} in {kind.value} {how} double quantization. Use "
            f"quant.double_quant={str(double).lower()}, or {sixteen}."
        )
    return kind.value
