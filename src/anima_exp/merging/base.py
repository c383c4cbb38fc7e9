"""Read the files of a base model: its weights, its config.json, and the names of its layers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from anima_exp.config import ModelConfig, QuantConfig
from anima_exp.errors import ModelError
from anima_exp.libraries.transformers_experts import expert_modules, is_transposed
from anima_exp.libraries.transformers_internals import is_conv1d
from anima_exp.libraries.transformers_loading import layers_in_4_bits
from anima_exp.libraries.transformers_names import Names
from anima_exp.model.base_files import check_base_files
from anima_exp.model.dequantized_copy import in_16_bits
from anima_exp.model.device_map import meta_model
from anima_exp.model.expert_weights import stack_sizes
from anima_exp.model.stored_tensors import Tensors, file, table, weights_of
from anima_exp.model.stored_types import (
    check_dequantizable,
    dequantized_format,
    stored_quantization,
)
from anima_exp.system import paths


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
    copy: ModelConfig | None = None  # weights and config.json in 16 bits, of a base in FP8

    @classmethod
    def of(cls, model: ModelConfig, *, cache: Path | None = None) -> "Base":
        """Open the files of a base.

        Args:
            cache: the cache folder, for a 16-bit copy of a base that is stored in FP8 or MXFP4.

        Raises:
            ModelError: if they do not exist, or are already quantized.
        """
        check_base_files(model)
        stored = file(model, "config.json")
        config = table(model, stored) if stored else {}
        copy: ModelConfig | None = None
        if dequantized_format(config):
            check_dequantizable(model.source, stored_quantization(config) or {})
            copy = in_16_bits(model, config, cache or paths.cache())
        base = cls(model, Tensors(weights_of(copy or model)), copy)
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
        path = file(self.copy or self.model, "config.json")
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
