"""Which settings a model does not have yet, with which one row needs less memory."""

from typing import Any

from anima_exp.config import Recompute
from anima_exp.libraries.bitsandbytes_internals import is_4bit_layer
from anima_exp.libraries.peft_internals import lora_layers
from anima_exp.model.recompute import recompute_of


def memory_advice(model: Any) -> str:
    """Return what to change so that a row that does not fit may fit, as a sentence."""
    lower = ["data.max_prompt_tokens", "data.max_response_tokens"]
    settings = []
    if recompute_of(model) is not Recompute.full:
        settings.append("trainer.recompute=full")
    if any(getattr(one, "dequantized", None) is not None for one in model.modules()):
        settings.append("quant.keep_dequantized=false")
    if not lora_layers(model):
        settings.append("lora=all_linear")
    else:
        lower.append("lora.rank")
        if not any(map(is_4bit_layer, model.modules())):
            settings.append("quant=nf4")
    advice = f"Lower {', '.join(lower[:-1])} or {lower[-1]}"
    return f"{advice}, or use {', '.join(settings)}." if settings else f"{advice}."
