"""Read the files of a base model: its weights, its config.json, and the names of its layers."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from anima_exp.config import ModelConfig, QuantConfig
from anima_exp.errors import ModelError
from anima_exp.libraries.transformers_internals import is_conv1d
from anima_exp.libraries.transformers_loading import layers_in_4_bits
from anima_exp.model.base_files import check_base_files
from anima_exp.model.device_map import meta_model
from anima_exp.model.stored_tensors import Tensors, file, table, weights_of


@dataclass(frozen=True)
class Layers:
    """Names of a base's modules in memory, and how training stored them."""

    modules: frozenset[str]
    parameters: frozenset[str]
    transposed: frozenset[str]  # modules that store [in, out], as in GPT-2
    quantized: frozenset[str]  # modules that a 4-bit run quantizes
    prefix: str  # `model`; files written from the inner model lack it


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
        base = cls(model, Tensors(weights_of(model)))
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
        quantized: set[str] = set()
        if quant.is_4bit:
            quantized = layers_in_4_bits(model)
        return Layers(
            frozenset(modules),
            parameters,
            frozenset(transposed),
            frozenset(quantized),
            str(model.base_model_prefix),
        )
