"""A base model -> the same model with a fresh LoRA adapter, the only part that learns."""

import warnings
from pathlib import Path
from typing import Any

from anima_exp.config import LoraConfig, ModelConfig, Precision, TargetModules
from anima_exp.errors import ModelError, first_line
from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes
from anima_exp.libraries.peft_internals import (
    adapts_experts,
    belongs_to_adapter,
    cannot_adapt_experts,
)
from anima_exp.model.base import DTYPES
from anima_exp.model.layers import target_modules
from anima_exp.model.tokenizer import location


def attach(model: Any, lora: LoraConfig) -> Any:
    """`model` with adapters of rank `lora.rank` on the layers of `lora.target_modules`.

    A starts as Kaiming noise and B as zeros, so the adapter changes nothing before the first
    step. Set the seed before: the noise is what makes two runs differ. With
    `target_modules: none` the model is returned as it is, every weight trainable.
    """
    if lora.target_modules is TargetModules.none:
        return model
    import_bitsandbytes()
    from peft import LoraConfig as PeftLoraConfig
    from peft import get_peft_model

    settings = PeftLoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft says int, qlora.py gives a float
        lora_dropout=lora.dropout,
        target_modules=_short(target_modules(model, lora.target_modules, lora.layers), model),
        bias="none",
        task_type="CAUSAL_LM",
    )
    which = f"lora.target_modules={lora.target_modules.value}"
    name, another = type(model).__name__, "Try another set, as lora=attention."
    try:
        with warnings.catch_warnings():
            # PEFT's own patterns for experts that such a model does not have.
            warnings.filterwarnings("ignore", message=r"The following \w+_pattern keys")
            adapted = get_peft_model(model, settings)
    except ValueError as error:  # PEFT refuses some layers of some families
        if not cannot_adapt_experts(error):
            reason = first_line(error).partition(". ")[0]  # what follows names PEFT's arguments
            raise ModelError(f"{which} of {name}: {reason}. {another}") from error
        raise ModelError(_EXPERTS.format(which, name, another)) from error
    if adapts_experts(adapted):
        raise ModelError(_EXPERTS.format(which, name, another))
    cast_adapter(adapted, lora.dtype)
    return adapted


# PEFT 0.19 and later take the names of dense layers for those of experts in one stacked tensor.
_EXPERTS = "{} of {}: PEFT would adapt its experts too, which training here does not support. {}"


def name_base(model: Any, base: ModelConfig) -> None:
    """Let the adapter's own settings say which base it belongs on, to whoever loads it later."""
    source = location(base.source)
    for settings in getattr(model, "peft_config", {}).values():
        folder = Path(source)
        settings.base_model_name_or_path = str(folder.resolve()) if folder.is_dir() else source
        settings.revision = base.revision


def cast_adapter(model: Any, dtype: Precision) -> None:
    """Keep the adapter's own weights in `dtype`."""
    for name, parameter in model.named_parameters():
        if belongs_to_adapter(name):
            parameter.data = parameter.data.to(DTYPES[dtype])


def _short(names: list[str], model: Any) -> list[str]:
    """Last parts (`q_proj`) where they name exactly these layers, as published adapters do."""
    leaves = {name.rpartition(".")[2] for name in names}
    everywhere = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in leaves}
    return sorted(leaves) if everywhere == set(names) else names
