"""What transformers reports about a model that it has just loaded: refuse what it only warns of.

A weight that the files lack starts at random, and transformers goes on with a table in the log.
"""

from collections.abc import Mapping
from pickle import UnpicklingError
from typing import Any

import torch

from anima_exp.config import Attention
from anima_exp.errors import ModelError, first_line
from anima_exp.libraries.bitsandbytes_internals import block_maxima
from anima_exp.libraries.torch_internals import says_weights_only
from anima_exp.libraries.transformers_loading import holds_adapter, says_other_sizes
from anima_exp.results.screen import say

_AGAIN = "Download the model again, or give the folder of the whole model."


def check_report(model: Any, report: Mapping[str, Any], source: str) -> None:
    """Raise ModelError unless the files gave `model` all its weights; say what they hold besides.

    Args:
        report: transformers' loading info. Tied weights, and those that the class declares to be
            no part of the files, are not in it.
    """
    where = f"model.source={source}"
    if holds_adapter(model):
        raise ModelError(
            f"{where} holds an adapter (adapter_config.json), and transformers has loaded it as a "
            "part of the base. Give the bare base, or merge the adapter first."
        )
    name = type(model).__name__
    surplus = sorted(report["unexpected_keys"])
    if missing := sorted(report["missing_keys"]):
        count = len(dict(model.named_parameters()))
        besides = f" The files hold {_some(surplus)} instead." if surplus else ""
        raise ModelError(
            f"{where} lacks {len(missing)} of the {count} weights of {name}, "
            f"which would start at random: {_first(missing)}.{besides} {_AGAIN}"
        )
    if surplus:
        say(f"base     {name} has no place for {_some(surplus)} of {source}")


def check_finite(model: Any) -> None:
    """Raise ModelError if a weight is NaN or infinite, or has no numbers at all."""
    for name, parameter in model.named_parameters():
        maxima = block_maxima(parameter)  # each stands for all of its block
        found = parameter.detach() if maxima is None else maxima
        if found.is_meta or not found.numel() or found.dtype not in _PLAIN:
            continue
        low, high = torch.aminmax(found)
        if not (low.isfinite() and high.isfinite()):
            raise ModelError(
                f"model.source={model.config.name_or_path}: {name} holds NaN or infinite numbers. "
                "The model is damaged, or its numbers are too large for trainer.precision=fp16."
            )


_PLAIN = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def reason(error: Exception, attention: Attention) -> Exception:
    """Return the error with our words where transformers or torch gives advice of its own."""
    text = str(error)
    if isinstance(error, UnpicklingError) or says_weights_only(error):
        return ValueError(
            "a .bin file is damaged, or holds more than weights, which could run a program here. "
            "Nothing of it was run. Ask its author for safetensors."
        )
    if says_other_sizes(error):
        return ValueError("weights have other sizes than its config.json says.")
    if "attention" in text.lower() and attention is not Attention.eager:
        return ValueError(f"{first_line(error)} Use model.attention={Attention.eager.value}.")
    return error


def _some(names: list[str]) -> str:
    return f"{len(names)} weights ({_first(names)})"


def _first(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown}, ..." if len(names) > 3 else shown
