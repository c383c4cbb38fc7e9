"""Read the files of a base model: its weights, its config.json, and the names of its layers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from anima_exp.config import ModelConfig, QuantConfig
from anima_exp.errors import ModelError, first_line
from anima_exp.libraries import hub
from anima_exp.libraries.transformers_experts import expert_modules, is_transposed
from anima_exp.libraries.transformers_internals import is_conv1d
from anima_exp.libraries.transformers_loading import layers_in_4_bits
from anima_exp.libraries.transformers_names import Names
from anima_exp.model.base_files import check_base_files
from anima_exp.model.device_map import meta_model
from anima_exp.model.expert_weights import stack_sizes
from anima_exp.model.tokenizer import resolve_source
from anima_exp.system import json_files


@dataclass(frozen=True)
class Entry:
    """A tensor that has not been read."""

    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def numbers(self) -> int:
        return torch.Size(self.shape).numel()


class Tensors:
    """Tensors by name in memory-mapped safetensors or older pickle files, read one at a time."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Open the files.

        Raises:
            ModelError: if a file is damaged, or holds more than tensors.
        """
        self.entries: dict[str, Entry] = {}
        self._opened = {file: _open(file) for file in files}
        for file, opened in self._opened.items():
            for name in opened.keys():  # noqa: SIM118 - safe_open is no mapping
                tensor = _unread(opened, name)
                self.entries[name] = Entry(file, tuple(_shape(opened, name)), tensor.dtype)

    def read(self, name: str) -> Tensor:
        opened = self._opened[self.entries[name].file]
        tensor: Tensor = opened[name] if isinstance(opened, dict) else opened.get_tensor(name)
        return tensor


def _open(file: Path) -> Any:
    try:
        if file.suffix == ".safetensors":
            from safetensors import safe_open

            return safe_open(file, framework="pt")
        return torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise ModelError(
            f"{file}: the index names this file, but it does not exist. Download the model again."
        ) from error
    except UnpicklingError as error:  # torch's message advises to run the code in the file
        raise ModelError(
            f"{file} is damaged, or holds code besides weights. None of it was run. "
            "Ask its author for safetensors."
        ) from error
    except Exception as error:  # each library raises other errors for a damaged file
        reason = first_line(error)
        raise ModelError(f"{file}: the weights cannot be read: {reason}") from error


def _unread(opened: Any, name: str) -> Tensor:
    """Return a tensor of the same type, without reading its values."""
    if isinstance(opened, dict):
        return opened[name]  # type: ignore[no-any-return]  # mapped, not read
    part = opened.get_slice(name)
    return part[0:0] if part.get_shape() else opened.get_tensor(name)  # type: ignore[no-any-return]


def _shape(opened: Any, name: str) -> Sequence[int]:
    found = opened[name].shape if isinstance(opened, dict) else opened.get_slice(name).get_shape()
    return found  # type: ignore[no-any-return]


_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_OLDER = ("pytorch_model.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Layers:
    """Names of a base's modules in memory, and how training stored them."""

    modules: frozenset[str]
    parameters: frozenset[str]
    transposed: frozenset[str]  # modules that store [in, out], as in GPT-2
    quantized: frozenset[str]  # modules that a 4-bit run quantizes
    names: Names  # of weights in files
    stacks: Mapping[str, tuple[int, int, int]]  # of experts: name -> matrices, inputs, outputs
    turned: frozenset[str]  # stacks that are [experts, in, out]


@dataclass(frozen=True)
class Base:
    model: ModelConfig
    tensors: Tensors

    @classmethod
    def of(cls, model: ModelConfig) -> "Base":
        """Open the files of a base.

        Raises:
            ModelError: if they do not exist, or are already quantized.
        """
        check_base_files(model)
        base = cls(model, Tensors(_weights(model)))
        if "quantization_config" in base.config:
            raise ModelError(
                f"model.source={model.source} is already quantized, and rounding twice would lose "
                "part of the training. Give the 16-bit model that it was made from: "
                "model.source=..."
            )
        if file(model, "adapter_config.json"):
            raise ModelError(
                f"model.source={model.source} contains an adapter besides its weights. "
                "Merge that adapter into the bare base first."
            )
        return base

    @cached_property
    def config(self) -> dict[str, Any]:
        path = file(self.model, "config.json")
        if path is None:
            raise ModelError(
                f"model.source={self.model.source} has no config.json. Give the folder or the hub "
                "id of a model."
            )
        return table(self.model, path)

    @cached_property
    def dtype(self) -> torch.dtype:
        """The type of most of its numbers. A few tensors may intentionally have another."""
        count: Counter[torch.dtype] = Counter()
        for entry in self.tensors.entries.values():
            if entry.dtype.is_floating_point:
                count[entry.dtype] += entry.numbers
        return count.most_common(1)[0][0]

    @property
    def vocabulary(self) -> int:
        config = self.config.get("text_config", self.config)
        return int(config["vocab_size"])

    def layers(self, quant: QuantConfig) -> Layers:
        """Return the names of the layers, from a model without weights built by transformers."""
        model = meta_model(self.model)
        modules = dict(model.named_modules())
        transposed = {name for name, one in modules.items() if is_conv1d(one)}
        parameters = frozenset(model.state_dict())
        stacks = stack_sizes(model)
        turned = {name for name, one, _ in expert_modules(model) if is_transposed(one)}
        names = Names(meta_model(self.model))  # with the layers that files know
        quantized: set[str] = set()
        if quant.is_4bit:
            quantized = layers_in_4_bits(model)
        return Layers(
            frozenset(modules),
            parameters,
            frozenset(transposed),
            frozenset(quantized),
            names,
            stacks,
            frozenset(name for name in stacks if name.rpartition(".")[0] in turned),
        )


def table(model: ModelConfig, path: Path) -> dict[str, Any]:
    try:
        return json_files.read_table(path)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise ModelError(
            f"model.source={model.source}: {path.name} cannot be read: {reason}"
        ) from error


def file(model: ModelConfig, name: str) -> Path | None:
    """Return a file of the base, from its folder or the hub; None if it does not exist."""
    source = resolve_source(model.source)
    if Path(source).is_dir():
        return found if (found := Path(source) / name).is_file() else None
    return hub.file(source, name, where=f"model.source={source}", revision=model.revision)


def _weights(model: ModelConfig) -> list[Path]:
    for whole, index in (_WEIGHTS, _OLDER):
        if found := file(model, whole):
            return [found]
        if listed := file(model, index):
            names = sorted(set(table(model, listed).get("weight_map", {}).values()))
            return [file(model, name) or listed.with_name(name) for name in names]
    raise ModelError(
        f"model.source={model.source} has no weights to merge into: there is none of "
        f"{', '.join((*_WEIGHTS, *_OLDER))}."
    )
