"""ModelConfig -> the base's files: its weights, its config.json, and what its layers are."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from anima_exp import hub, json_text
from anima_exp.config import ModelConfig, QuantConfig, Quantization
from anima_exp.errors import ModelError, first_line
from anima_exp.libraries.transformers_internals import is_conv1d
from anima_exp.libraries.transformers_loading import layers_in_4_bits
from anima_exp.merge.tensors import Tensors
from anima_exp.model.base_files import check_base_files
from anima_exp.model.device_map import without_weights
from anima_exp.model.tokenizer import location

FOUR_BITS = (Quantization.nf4, Quantization.fp4)
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_OLDER = ("pytorch_model.bin", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class Layers:
    """What a base's modules are called in memory, and what training made of them."""

    modules: frozenset[str]
    parameters: frozenset[str]
    transposed: frozenset[str]  # modules that keep [in, out], as GPT-2's
    quantized: frozenset[str]  # modules that a run in 4 bits had in 4 bits
    prefix: str  # `model`: files written from the inner model lack it


@dataclass(frozen=True)
class Base:
    model: ModelConfig
    tensors: Tensors

    @classmethod
    def of(cls, model: ModelConfig) -> "Base":
        """Raises ModelError: there are no such files, or they are quantised already."""
        check_base_files(model)
        base = cls(model, Tensors(_weights(model)))
        if "quantization_config" in base.config:
            raise ModelError(
                f"model.source={model.source} is quantised already, and rounding twice would lose "
                "what was learnt. Give the 16-bit model that it was made from: model.source=..."
            )
        if file(model, "adapter_config.json"):
            raise ModelError(
                f"model.source={model.source} has an adapter of its own beside its weights; "
                "merge that one first, on the bare base."
            )
        return base

    @cached_property
    def config(self) -> dict[str, Any]:
        path = file(self.model, "config.json")
        if path is None:
            raise ModelError(f"model.source={self.model.source} holds no config.json.")
        return table(self.model, path)

    @cached_property
    def dtype(self) -> torch.dtype:
        """The type of most of its numbers; a few tensors may have another on purpose."""
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
        """Read from a model without weights, as transformers would build and quantise it."""
        model = without_weights(self.model)
        modules = dict(model.named_modules())
        transposed = {name for name, one in modules.items() if is_conv1d(one)}
        parameters = frozenset(model.state_dict())
        quantized: set[str] = set()
        if quant.type in FOUR_BITS:
            quantized = layers_in_4_bits(model)
        return Layers(
            frozenset(modules),
            parameters,
            frozenset(transposed),
            frozenset(quantized),
            str(model.base_model_prefix),
        )


def table(model: ModelConfig, path: Path) -> dict[str, Any]:
    try:
        return json_text.read_table(path)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise ModelError(
            f"model.source={model.source}: {path.name} cannot be read: {reason}"
        ) from error


def file(model: ModelConfig, name: str) -> Path | None:
    """A file of the base, from its folder or the hub; None if it has none of that name."""
    source = location(model.source)
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
        f"model.source={model.source} holds no weights to merge into: none of "
        f"{', '.join((*_WEIGHTS, *_OLDER))}."
    )
