"""Check a model that transformers has just loaded, and refuse faults that it only logs.

A weight that is missing from the files starts from random values, and transformers only logs a
table. A second part checks how much of a model quantization would reach.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import torch

from anima_exp.config import Attention, Fault, ModelConfig, QuantConfig, Quantization
from anima_exp.errors import ModelError, first_line
from anima_exp.events import say
from anima_exp.libraries.bitsandbytes_internals import block_maxima, elements, is_quantized
from anima_exp.libraries.torch_internals import says_weights_only
from anima_exp.libraries.transformers_loading import holds_adapter, says_other_sizes
from anima_exp.model.expert_weights import stack_names
from anima_exp.model.linear_layers import in_block, linear_layers

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


_AGAIN = "Download the model again, or use the folder of the complete model."


def check_report(
    model: "PreTrainedModel | PeftModel", report: Mapping[str, Any], source: str
) -> None:
    """Raise ModelError unless the files held all weights of `model`; report weights left over.

    Args:
        report: transformers' loading info. It leaves out tied weights, and those that the class
            declares to be absent from files.
    """
    where = f"model.source={source}"
    if holds_adapter(model):
        raise ModelError(
            f"{where} holds an adapter (adapter_config.json), which transformers loaded as a part "
            "of the base model. Use the base model without it, or merge the adapter first."
        )
    name = type(model).__name__
    surplus = sorted(report["unexpected_keys"])
    if missing := sorted(report["missing_keys"]):
        count = len(dict(model.named_parameters()))
        besides = f" The files hold {_some(surplus)} instead." if surplus else ""
        raise ModelError(
            f"{where} lacks {len(missing)} of the {count} weights of {name}, "
            f"which would start from random values: {_first(missing)}.{besides} {_AGAIN}"
        )
    if surplus:
        say(f"base     {name} does not use {_some(surplus)} of {source}")


def check_finite(model: "PreTrainedModel | PeftModel") -> None:
    """Raise ModelError if a weight is NaN or infinite, or has no numbers at all."""
    for name, parameter in model.named_parameters():
        maxima = block_maxima(parameter)  # each stands for all of its block
        found = parameter.detach() if maxima is None else maxima
        if found.is_meta or not found.numel() or found.dtype not in _PLAIN:
            continue
        low, high = torch.aminmax(found)
        if not (low.isfinite() and high.isfinite()):
            raise ModelError(
                f"model.source={model.config.name_or_path}: {name} holds NaN or infinite values. "
                "The model is damaged, or its weights are too large for trainer.precision=fp16."
            )


_PLAIN = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def reason(error: Exception, attention: Attention) -> Exception:
    """Return the error, reworded if transformers or torch gives advice that does not apply here."""
    text = str(error)
    if isinstance(error, UnpicklingError) or says_weights_only(error):
        return ValueError(
            "a .bin file is damaged, or holds more than weights, which could run code. "
            "Nothing in it was run. Ask its author for safetensors."
        )
    if says_other_sizes(error):
        return ValueError("weights have other shapes than its config.json says.")
    if "attention" in text.lower() and attention is not Attention.eager:
        return ValueError(f"{first_line(error)} Use model.attention={Attention.eager.value}.")
    return error


def _some(names: list[str]) -> str:
    return f"{len(names)} weights ({_first(names)})"


def _first(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown}, ..." if len(names) > 3 else shown


# bitsandbytes quantizes linear layers. Stacks of experts are quantized to 4 bits in the same way
# (expert_weights.py), but a family may keep its experts in another form.

_LEAST = 0.9  # of the matrices in decoder blocks must be quantized


@dataclass(frozen=True)
class Share:
    """The fraction of the matrices in a model's blocks that is (or would be) quantized."""

    quantized: float  # 0 to 1
    largest: str  # the largest tensor that is not quantized; "" if there is none
    stacked: bool  # whether most of the rest is in no linear layer


def check_share(
    model: ModelConfig, quant: QuantConfig, built: "PreTrainedModel | PeftModel"
) -> None:
    """Check that quantization reaches a model's matrices, and say so if it does not.

    Args:
        built: the model in memory, or the same model on the meta device before it is loaded.

    Raises:
        ModelError: if it does not, unless model.accept has `unquantized`.
    """
    share = quantized_share(built, stacks=quant.is_4bit)
    if share.quantized >= _LEAST:
        return
    found = (
        f"quant={quant.type.value} quantizes only {100 * share.quantized:.0f} % of the weights in "
        f"the blocks of model.source={model.source}"
    )
    rest = (
        f"its experts ({share.largest}) are one stacked tensor"
        if share.stacked
        else (f"{share.largest} and others stay as they are")
    )
    eight = share.stacked and quant.type is Quantization.int8
    way = "quant=nf4, which also quantizes stacked experts, or " if eight else ""
    if Fault.unquantized not in model.accept:
        raise ModelError(
            f"{found}: {rest}. Choose {way}another model, use quant=none if its 16-bit weights fit "
            "into memory, or accept this with model.accept=[unquantized]."
        )
    say(f"base     accepted: {found}: {rest}")


def quantized_share(model: "PreTrainedModel | PeftModel", *, stacks: bool) -> Share:
    """Return the quantized fraction; in a model that is not quantized, that of linear layers.

    Args:
        stacks: whether a model that is not quantized would have its stacks of experts quantized.
    """
    linear = {f"{one.name}.weight" for one in linear_layers(model)}
    reached = linear | (set(stack_names(model)) if stacks else set())
    inside = [
        (name, elements(parameter), is_quantized(parameter))
        for name, parameter in model.named_parameters()
        if in_block(name)[0] and (parameter.ndim >= 2 or is_quantized(parameter))
    ]
    quantized_already = any(quantized for *_, quantized in inside)
    total = sum(count for _, count, _ in inside)
    rest = [
        (count, name)
        for name, count, quantized in inside
        if not (quantized if quantized_already else name in reached)
    ]
    left = sum(count for count, _ in rest)
    stacked = sum(count for count, name in rest if name not in linear)
    return Share(
        quantized=1 - left / total if total else 1.0,
        largest=max(rest)[1] if rest else "",
        stacked=2 * stacked > left,
    )
