"""Attach a fresh LoRA adapter to a base model, or load an existing adapter onto it."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from anima_exp.config import Fault, LoraConfig, LoraInit, LoraVariant, ModelConfig, Precision
from anima_exp.config.lora_checks import alphas, check_experts, ranks
from anima_exp.errors import ModelError, first_line
from anima_exp.events import say
from anima_exp.libraries import peft_experts, peft_internals
from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes
from anima_exp.libraries.peft_internals import (
    adapts_experts,
    belongs_to_adapter,
    cannot_adapt_experts,
)
from anima_exp.model import adapter_files, expert_adapters
from anima_exp.model.adapter_files import warn_of_another
from anima_exp.model.adapter_init import initialize
from anima_exp.model.adapter_patterns import check_patterns
from anima_exp.model.base import DTYPES
from anima_exp.model.expert_weights import stack_names
from anima_exp.model.linear_layers import target_modules
from anima_exp.model.lora_start import cast_starts
from anima_exp.model.target_coverage import check_targets
from anima_exp.model.target_modules import by_layer, check_names
from anima_exp.model.tokenizer import resolve_source
from anima_exp.model.whole_modules import train_in_fp32, whole_modules

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def add_lora(
    model: "PreTrainedModel | PeftModel",
    lora: LoraConfig,
    base: ModelConfig | None = None,
    eva: "Callable[[PeftModel], None] | None" = None,
    *,
    accept: Sequence[Fault] = (),
) -> Any:
    """Return `model` with adapters of rank `lora.rank` on the layers of `lora.target_modules`.

    The adapter changes nothing before the first step, but with lora.init=loftq: by default A starts
    as Kaiming noise and B as zeros. Set the seed before the call, since it decides the noise. For
    full fine-tuning the model is returned as it is, with every weight trainable.

    Args:
        base: the base model, whose files lora.init=loftq reads.
        eva: sets A and the ranks for lora.init=eva (eva.py).
        accept: `partial_targets` allows layers that are not all of their kind.

    Raises:
        ModelError: if PEFT cannot adapt these layers, the model has no such layers, or the layers
            are not all of their kind.
    """
    if lora.is_full_finetune:
        return model
    import_bitsandbytes()
    from peft import LoraConfig as PeftLoraConfig
    from peft import get_peft_model

    layers = target_modules(model, lora.target_modules, lora.modules)
    check_names(lora, layers, layers)
    check_targets(cast("PreTrainedModel", model), layers, lora, accept)
    names = [*layers, *(stack_names(model) if lora.experts else ())]
    whole, tied = whole_modules(model, lora)
    _check_apart(whole, layers)
    settings = PeftLoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft says int, qlora.py gives a float
        lora_dropout=lora.dropout,
        target_modules=_short(layers, model),
        target_parameters=expert_adapters.target_parameters(model, lora),
        rank_pattern=by_layer(ranks(lora), names),
        alpha_pattern=by_layer(alphas(lora), names),
        use_rslora=lora.variant is LoraVariant.rslora,
        use_dora=lora.variant is LoraVariant.dora,
        modules_to_save=whole or None,
        ensure_weight_tying=tied,
        bias="none",
        task_type="CAUSAL_LM",
    )
    which = f"lora.target_modules={lora.target_modules.value}"
    name, another = type(model).__name__, "Try another set, for example lora=attention."
    try:
        with warnings.catch_warnings(), expert_adapters.as_peft_needs(model):
            # PEFT's own patterns for experts that such a model does not have.
            warnings.filterwarnings("ignore", message=r"The following \w+_pattern keys")
            adapted = get_peft_model(model, settings)
    except ValueError as error:  # PEFT refuses some layers of some families
        if not cannot_adapt_experts(error):
            reason = first_line(error).partition(". ")[0]  # what follows names PEFT's arguments
            if (one := peft_internals.refused_layer(error)) and lora.modules is None:
                leaves = sorted({name.rpartition(".")[2] for name in layers} - {one})
                another = f"Use lora.target_modules=named lora.modules=[{','.join(leaves)}]."
            raise ModelError(f"{which} cannot adapt {name}: {reason}. {another}") from error
        raise ModelError(_EXPERTS.format(which, name, another)) from error
    if adapts_experts(adapted) and not lora.experts:
        raise ModelError(_EXPERTS.format(which, name, another))
    if base is not None:
        initialize(adapted, lora, base)
    if eva is not None and lora.init is LoraInit.eva:
        eva(adapted)
    cast_adapter(adapted, lora.dtype)
    train_in_fp32(adapted)
    if line := expert_adapters.experts_line(adapted, lora):
        say(line)
    if peft_experts.would_rename(adapted):
        say(_RENAMED)
    return adapted


# PEFT has done so since 0.19, for adapters that were made with transformers 4.
_RENAMED = (
    "lora     PEFT alone would take layers of shared experts or dense blocks in this adapter for "
    "experts: use it with anima-exp, or merge it"
)


def _check_apart(whole: list[str], layers: list[str]) -> None:
    for name in whole:
        if inside := [one for one in layers if f"{one}.".startswith(f"{name}.")]:
            raise ModelError(
                f"lora.save_modules: {name} is trained as a whole, but {inside[0]} in it gets an "
                "adapter. Leave one of the two out, for example with another lora set."
            )


# PEFT 0.19 and later apply the names of dense layers to experts in one stacked tensor too.
_EXPERTS = (
    "{} cannot adapt {}: PEFT would adapt its experts too, which training does not support. {}"
)


def record_base_model(model: "PreTrainedModel | PeftModel", base: ModelConfig) -> None:
    """Write the base model's name and revision to the adapter's config, for later loading."""
    source = resolve_source(base.source)
    for settings in getattr(model, "peft_config", {}).values():
        folder = Path(source)
        settings.base_model_name_or_path = str(folder.resolve()) if folder.is_dir() else source
        settings.revision = base.revision


def cast_adapter(model: "PreTrainedModel | PeftModel", dtype: Precision) -> None:
    """Convert the adapter's weights to `dtype`."""
    for name, parameter in model.named_parameters():
        if belongs_to_adapter(name):
            parameter.data = parameter.data.to(DTYPES[dtype])
    cast_starts(model)


def _short(names: list[str], model: "PreTrainedModel | PeftModel") -> list[str]:
    """Shorten names to their last part (`q_proj`) if that names exactly the same layers."""
    leaves = {name.rpartition(".")[2] for name in names}
    everywhere = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in leaves}
    return sorted(leaves) if everywhere == set(names) else names


def load_adapter(
    model: "PreTrainedModel | PeftModel",
    place: str,
    *,
    name: str = "default",
    key: str = "adapter",
    trained_with: LoraConfig | None = None,
) -> Any:
    """Load an adapter onto `model`, in addition to the adapters that it has.

    PEFT's types that compute inside a layer are supported. Every stored weight must have a layer
    in the model, and every weight of the adapter's layers must be stored.

    Args:
        place: a folder or a hub id.
        name: the adapter's name in the model.
        key: the setting that names `place`; error messages start with it.
        trained_with: the settings to continue training with; None for inference.

    Raises:
        ModelError: if the adapter cannot be read, has another type, or belongs to another base.
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
            if getattr(config, "target_parameters", None):
                check_experts(trained_with)
            config.lora_dropout = trained_with.dropout
        renamed = expert_adapters.is_of_each_expert(stored)
        with expert_adapters.as_peft_needs(model, rename=renamed):
            if isinstance(model, PeftModel):
                model.add_adapter(name, config)
            else:
                model = PeftModelForCausalLM(model, config, adapter_name=name)
            train_in_fp32(model, trained_with is not None)
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
