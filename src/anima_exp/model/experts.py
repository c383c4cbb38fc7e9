"""How much of a base would really be quantised: experts in one stacked tensor are left out.

bitsandbytes replaces linear layers. transformers keeps the experts of a mixture of experts, which
are most of its weights, in one tensor of three dimensions that is no linear layer.
"""

from dataclasses import dataclass
from typing import Any

from anima_exp.config import ModelConfig, QuantConfig
from anima_exp.errors import ModelError
from anima_exp.libraries.bitsandbytes_internals import elements, is_quantised
from anima_exp.model.layers import in_block, linear_layers

_LEAST = 0.9  # of the matrices in decoder blocks


@dataclass(frozen=True)
class Share:
    """Of the matrices in a model's blocks, those that are (or would be) quantised."""

    quantised: float  # 0 to 1
    largest: str  # the largest tensor that is not; "" if there is none
    stacked: bool  # whether most of the rest is no linear layer


def check_experts(model: ModelConfig, quant: QuantConfig, built: Any) -> None:
    """Raise ModelError if quantisation leaves, or would leave, a model's experts as they are.

    Args:
        built: the model in memory, or the same without weights, which tells before it is loaded.
    """
    share = quantised_share(built)
    if share.quantised < _LEAST and share.stacked:
        raise ModelError(
            f"quant={quant.type.value} would quantise only {100 * share.quantised:.0f} % of the "
            f"weights in the blocks of model.source={model.source}: its experts "
            f"({share.largest}) are one stacked tensor, not linear layers. Choose a model without "
            "experts, or quant=none if 16 bits fit the memory."
        )


def experts_line(built: Any) -> str | None:
    """Say how much of a 16-bit model is experts, which no adapter reaches; None without them."""
    share = quantised_share(built)
    if share.quantised >= _LEAST or not share.stacked:
        return None
    return (
        f"{100 - 100 * share.quantised:.0f} % of the weights in blocks are stacked experts "
        f"({share.largest}), which LoRA does not adapt here"
    )


def quantised_share(model: Any) -> Share:
    """Count matrices in blocks; of a model that is not quantised, linear layers would be."""
    linear = {f"{one.name}.weight" for one in linear_layers(model)}
    inside = [
        (name, elements(parameter), is_quantised(parameter))
        for name, parameter in model.named_parameters()
        if in_block(name)[0] and (parameter.ndim >= 2 or is_quantised(parameter))
    ]
    quantised_already = any(quantised for *_, quantised in inside)
    total = sum(count for _, count, _ in inside)
    rest = [
        (count, name)
        for name, count, quantised in inside
        if not (quantised if quantised_already else name in linear)
    ]
    left = sum(count for count, _ in rest)
    stacked = sum(count for count, name in rest if name not in linear)
    return Share(
        quantised=1 - left / total if total else 1.0,
        largest=max(rest)[1] if rest else "",
        stacked=2 * stacked > left,
    )
