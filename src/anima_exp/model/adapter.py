"""A base model -> the same model with a fresh LoRA adapter, the only part that learns."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anima_exp.config import LoraConfig, ModelConfig, Precision
from anima_exp.errors import ModelError, first_line
from anima_exp.libraries import peft_internals
from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes
from anima_exp.libraries.peft_internals import (
    adapts_experts,
    belongs_to_adapter,
    cannot_adapt_experts,
)
from anima_exp.model import adapter_files
from anima_exp.model.adapter_files import warn_of_another
from anima_exp.model.adapter_patterns import check_patterns
from anima_exp.model.base import DTYPES
from anima_exp.model.linear_layers import target_modules
from anima_exp.model.tokenizer import resolve_source


def add_lora(model: Any, lora: LoraConfig) -> Any:
    """`model` with adapters of rank `lora.rank` on the layers of `lora.target_modules`.

    A starts as Kaiming noise and B as zeros, so the adapter changes nothing before the first
    step. Set the seed before: the noise is what makes two runs differ. With
    `target_modules: none` the model is returned as it is, every weight trainable.
    """
    if lora.is_full_finetune:
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
    name, another = type(model).__name__, "Try another set, for example lora=attention."
    try:
        with warnings.catch_warnings():
            # PEFT's own patterns for experts that such a model does not have.
            warnings.filterwarnings("ignore", message=r"The following \w+_pattern keys")
            adapted = get_peft_model(model, settings)
    except ValueError as error:  # PEFT refuses some layers of some families
        if not cannot_adapt_experts(error):
            reason = first_line(error).partition(". ")[0]  # what follows names PEFT's arguments
            raise ModelError(f"{which} cannot adapt {name}: {reason}. {another}") from error
        raise ModelError(_EXPERTS.format(which, name, another)) from error
    if adapts_experts(adapted):
        raise ModelError(_EXPERTS.format(which, name, another))
    cast_adapter(adapted, lora.dtype)
    return adapted


# PEFT 0.19 and later take the names of dense layers for those of experts in one stacked tensor.
_EXPERTS = (
    "{} cannot adapt {}: PEFT would adapt its experts too, which training does not support. {}"
)


def record_base_model(model: Any, base: ModelConfig) -> None:
    """Let the adapter's own settings say which base it belongs on, to whoever loads it later."""
    source = resolve_source(base.source)
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


# A base in memory and an adapter's files -> the base with that adapter on it.


def load_adapter(
    model: Any,
    place: str,
    *,
    name: str = "default",
    key: str = "adapter",
    trained_with: LoraConfig | None = None,
) -> Any:
    """`model` with the adapter of `place` as `name`, beside those that it has already.

    Any adapter that PEFT computes inside a layer will do; its weights are read as
    adapter_files.py says, and every one of them has to find its place.

    Args:
        key: the setting that names `place`; it opens the error message.
        trained_with: how it is to be trained further; None if it is only used.

    Raises:
        ModelError: it is no such adapter, cannot be read, or belongs to another base.
    """
    import_bitsandbytes()
    from peft import PeftConfig, PeftModel, PeftModelForCausalLM, set_peft_model_state_dict

    where, base = f"{key}={place}", str(model.config.name_or_path)
    settings = adapter_files.settings(place, key=key)
    kind = settings["peft_type"]
    check_patterns(settings, (path for path, _ in model.named_modules()), where)
    stored = adapter_files.weights(place, key=key)
    warn_of_another(place, base, key=key)
    _check_added_tokens(model, stored, where)
    another = f"{where} was trained on a base model other than {base}"
    instead = "Choose its base model with model=NAME."
    try:
        config = PeftConfig.from_pretrained(str(adapter_files.files(place, key=key)))
        if config.is_prompt_learning or config.is_adaption_prompt:
            raise ModelError(
                f"{where} is of type {kind}, which computes outside the layers and cannot be used "
                "here. Use an adapter that computes inside them, such as LoRA."
            )
        config.inference_mode = trained_with is None
        if trained_with is not None:
            config.lora_dropout = trained_with.dropout
        if isinstance(model, PeftModel):
            model.add_adapter(name, config)
        else:
            model = PeftModelForCausalLM(model, config, adapter_name=name)
        result: Any = set_peft_model_state_dict(model, stored, adapter_name=name)
    except KeyError as error:
        raise ModelError(
            f"{where} is of type {kind}, which the installed peft does not know. Upgrade peft."
        ) from error
    except (ValueError, TypeError, RuntimeError) as error:
        if peft_internals.says_other_sizes(error):
            raise ModelError(f"{another}: its weights have other shapes. {instead}") from error
        if peft_internals.says_no_layer(error):
            raise ModelError(f"{another}, which has none of its layers. {instead}") from error
        first = first_line(error)
        raise ModelError(f"{where} cannot be loaded: {first}") from error
    nowhere = peft_internals.without_layer(result.unexpected_keys)
    if nowhere:
        raise ModelError(
            f"{another}: {len(nowhere)} of its {len(stored)} weights have no layer there. The "
            f"first is {peft_internals.layer_of(nowhere[0])}. {instead}"
        )
    empty = peft_internals.without_weight(result.missing_keys, name)
    if empty:
        raise ModelError(
            f"{another}: it lacks {len(empty)} of the weights that its layers need there. The "
            f"first is {peft_internals.layer_of(empty[0])}. {instead}"
        )
    if trained_with is None:
        return model.eval()
    cast_adapter(model, trained_with.dtype)
    return model


def _check_added_tokens(model: Any, stored: Mapping[str, Any], where: str) -> None:
    vocabulary = model.get_input_embeddings().weight.shape[0]
    for name, tensor in stored.items():
        base = str(model.config.name_or_path)
        if error := adapter_files.added_tokens(name, len(tensor), vocabulary, where, base):
            raise error
