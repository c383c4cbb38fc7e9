"""Read the updates of an adapter: low-rank updates by layer, and full tensors by name.

The files are read lazily and without PEFT, so that the verification compares two independent
readings of them.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anima_exp.config import QuantConfig
from anima_exp.config.lora_checks import full_expression
from anima_exp.errors import ModelError
from anima_exp.libraries.bitsandbytes_internals import rounded_to_4_bits
from anima_exp.model import adapter_files
from anima_exp.model.adapter_patterns import check_patterns
from anima_exp.model.stored_tensors import Tensors

_INSIDE_PEFT = "base_model.model."
_PART = re.compile(r"^(?P<module>.+)\.(?P<part>lora_\w+?)(\.weight)?$")
_A, _B, _MAGNITUDE = "lora_A", "lora_B", "lora_magnitude_vector"
# With these settings an adapter is more or other than W + scale * B @ A.
_UNKNOWN = (
    "layer_replication", "trainable_token_indices", "lora_bias", "alora_invocation_tokens",
    "use_qalora", "use_bdlora", "arrow_config", "kasa_config",
    "monteclora_config", "velora_config",
)  # fmt: skip


@dataclass(frozen=True)
class Update:
    """W + scale * B @ A; with DoRA each output row is scaled to the norm `magnitude`."""

    a: str  # the tensors' names in the adapter's file: [rank, in]
    b: str  # [out, rank]
    scale: float
    magnitude: str | None = None  # [out]
    rank_stabilized: bool = False  # the scale is alpha / sqrt(rank)

    def of_experts(self, count: int) -> float:
        """Return the scale if A holds the ranks of so many experts one after another."""
        return self.scale * (math.sqrt(count) if self.rank_stabilized else count)


@dataclass(frozen=True)
class Alphas:
    """lora_alpha, and alpha_pattern by the ends of names."""

    default: float
    patterns: dict[str, float]

    def of(self, name: str) -> float:
        """Return the value of the first pattern that a name ends with, as PEFT does."""
        for pattern, value in self.patterns.items():
            if re.match(full_expression(pattern), name):
                return value
        return self.default


@dataclass(frozen=True)
class Adapter:
    place: str
    file: Path
    tensors: Tensors
    updates: dict[str, Update]  # by module
    whole: dict[str, str]  # fully trained parameters (biases, modules_to_save) -> name in the file
    alphas: Alphas  # of layers and of stacks of experts

    @classmethod
    def of(cls, place: str) -> "Adapter":
        """Read an adapter from a folder or the hub.

        Raises:
            ModelError: if it cannot be read, or is of a type that cannot be merged.
        """
        config = adapter_files.settings(place)
        _refuse(place, config)
        file = adapter_files.weights_file(place)
        adapter_files.weights(place)  # raises for weights that are not plain, finite numbers
        tensors = Tensors([file])
        parts: dict[str, dict[str, str]] = {}
        whole: dict[str, str] = {}
        for name in tensors.entries:
            inside = adapter_files.plain_name(name).removeprefix(_INSIDE_PEFT)
            if found := _PART.match(inside):
                parts.setdefault(found["module"], {})[found["part"]] = name
            else:
                whole[inside.replace(".base_layer.", ".")] = name  # biases of layers with LoRA
        check_patterns(config, parts, f"adapter={place}")
        updates = {
            module: _update(place, module, one, config, tensors) for module, one in parts.items()
        }
        if not updates:
            raise ModelError(
                f"adapter={place} holds no LoRA update, so there is nothing to merge. "
                "Give the folder of a LoRA adapter."
            )
        alphas = Alphas(config["lora_alpha"], config.get("alpha_pattern") or {})
        return cls(place, file, tensors, updates, whole, alphas)


def _refuse(place: str, config: dict[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ModelError(f"adapter={place} is of type {kind}, but only LORA can be merged.")
    for key in _UNKNOWN:
        if config.get(key):
            raise ModelError(
                f"adapter={place} was made with {key}, which this command does not support. "
                "Try PEFT's merge_and_unload."
            )
    if start := adapter_files.changes_the_base(config):
        raise ModelError(
            f"adapter={place} was initialized with init_lora_weights={start}, which also changes "
            "the base. Convert it first (PEFT's path_initial_model_for_weight_conversion)."
        )


def _update(
    place: str, module: str, parts: dict[str, str], config: dict[str, Any], tensors: Tensors
) -> Update:
    known = {_A, _B} | ({_MAGNITUDE} if config.get("use_dora") else set())
    if set(parts) != known:
        raise ModelError(
            f"adapter={place}: layer {module} has {', '.join(sorted(parts))}, not "
            f"{', '.join(sorted(known))}. Only linear layers can be merged."
        )
    rank = tensors.entries[parts[_A]].shape[0]
    alpha = Alphas(config["lora_alpha"], config.get("alpha_pattern") or {}).of(module)
    stabilized = bool(config.get("use_rslora"))
    scale = alpha / (math.sqrt(rank) if stabilized else rank)
    return Update(parts[_A], parts[_B], scale, parts.get(_MAGNITUDE), stabilized)


def merge_weight(
    weight: Tensor,
    a: Tensor,
    b: Tensor,
    scale: float,
    *,
    magnitude: Tensor | None = None,
    transposed: bool = False,
) -> Tensor:
    """Return W + scale * B @ A in fp32; with a `magnitude` each output row gets that norm (DoRA).

    Args:
        weight: [out, in], or [in, out] if `transposed`, as is the result.
        a: [rank, in].
        b: [out, rank].
        magnitude: [out].
    """
    full = weight.float().T if transposed else weight.float()
    full = torch.addmm(full, b.float(), a.float(), alpha=scale)  # allocates one matrix, not two
    if magnitude is not None:
        full *= (magnitude.float() / torch.linalg.vector_norm(full, dim=1))[:, None]
    return full.T if transposed else full


def dequantized(
    weight: Tensor,
    quant: QuantConfig,
    *,
    dtype: torch.dtype,
    where: torch.device,
    transposed: bool = False,
) -> Tensor:
    """Return the weight that a run computes with: quantized to 4 bits and dequantized to `dtype`.

    Args:
        dtype: the type in which the run loads its base before it quantizes.
        where: the run's type of device, because each has its own quantization kernel.
    """
    full = weight.T if transposed else weight
    back = rounded_to_4_bits(
        full.to(dtype).contiguous(), quant.type.value, where, double_quant=quant.double_quant
    )
    return back.T if transposed else back
