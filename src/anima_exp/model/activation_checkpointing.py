"""Switch activation checkpointing: recompute parts of the forward pass to save memory."""

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

from anima_exp.config import ActivationCheckpointing, Precision
from anima_exp.errors import ModelError
from anima_exp.libraries.bitsandbytes_internals import PRODUCT_IN_4_BITS, is_4bit_layer
from anima_exp.libraries.peft_internals import base_of, lora_layers
from anima_exp.libraries.torch_internals import (
    ATTENTIONS,
    PRODUCTS,
    operation_name,
    says_changed_in_place,
)
from anima_exp.libraries.transformers_internals import can_checkpoint, set_activation_checkpointing
from anima_exp.model.architecture_check import short_batch
from anima_exp.model.base import autocast
from anima_exp.model.forward import loss_of
from anima_exp.model.lora_linear import be_one_operation
from anima_exp.model.varlen_attention import packed_attention

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


# Selective checkpointing keeps results that took many operations per byte.
_KEPT = ("lora_linear", *PRODUCTS, PRODUCT_IN_4_BITS)


_SET = "anima_exp_recompute"  # an attribute of the model


def apply_activation_checkpointing(
    model: "PreTrainedModel | PeftModel", how: ActivationCheckpointing
) -> None:
    """Set activation checkpointing for all later passes.

    Raises:
        ModelError: if the architecture does not support it.
    """
    if how is not ActivationCheckpointing.none and not can_checkpoint(base_of(model)):
        raise ModelError(
            f"trainer.activation_checkpointing={how.value} does not work with "
            f"{type(base_of(model)).__name__}, which does not support it in transformers. "
            "Use trainer.activation_checkpointing=none."
        )
    setattr(model, _SET, how)
    be_one_operation(model, how is ActivationCheckpointing.selective)
    if how is ActivationCheckpointing.none:
        if can_checkpoint(base_of(model)):
            set_activation_checkpointing(model, None)
        return
    settings: dict[str, Any] = {"use_reentrant": False}
    if how is ActivationCheckpointing.selective:
        settings["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    set_activation_checkpointing(model, settings)


def recompute_of(model: "PreTrainedModel | PeftModel") -> ActivationCheckpointing:
    """Return what `apply_activation_checkpointing` has set last."""
    found: ActivationCheckpointing = getattr(model, _SET, ActivationCheckpointing.none)
    return found


def selective_works(model: "PreTrainedModel | PeftModel", precision: Precision) -> bool:
    """Return whether a short row trains with selective checkpointing, which must be switched on.

    It does not in families that change a kept result in place (Falcon), and its gradients are wrong
    in those that compute a block otherwise the second time (Gemma 3n). No random number is drawn.
    """
    training = model.training
    model.train()
    try:
        selective = _sizes_of_gradients(model, precision)
        apply_activation_checkpointing(model, ActivationCheckpointing.none)
        whole = _sizes_of_gradients(model, precision)
    except RuntimeError as error:
        if not says_changed_in_place(error):
            raise
        return False
    finally:
        apply_activation_checkpointing(model, ActivationCheckpointing.selective)
        model.train(training)
    return _same_sizes(selective, whole)


# Of the gradients' sizes. In 16 bits a kept result is rounded as one computed again.
_ROUNDING = 1e-2


def _same_sizes(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() <= _ROUNDING * other.norm())


def _sizes_of_gradients(model: "PreTrainedModel | PeftModel", precision: Precision) -> Tensor:
    """Return the norm of each gradient after a short row."""
    batch, where = short_batch(model, 5), model.device
    gpus = [where] if where.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=gpus), packed_attention(model):
            with autocast(where, precision):
                loss = loss_of(model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
        found = [one.grad.norm().to(where) for one in model.parameters() if one.grad is not None]
        return torch.stack(found).float()
    finally:
        model.zero_grad()


def _policy(context: object, operation: object, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    name = operation_name(operation)
    keep = name in _KEPT or name.startswith(ATTENTIONS)
    return CheckpointPolicy.MUST_SAVE if keep else CheckpointPolicy.PREFER_RECOMPUTE


def memory_advice(model: "PreTrainedModel | PeftModel") -> str:
    """Return a sentence that names the settings that would reduce the memory of a single row."""
    lower = [
        "data.max_tokens (conversations)", "data.max_prompt_tokens", "data.max_response_tokens",
    ]  # fmt: skip
    settings = []
    if recompute_of(model) is not ActivationCheckpointing.full:
        settings.append("trainer.activation_checkpointing=full")
    if any(getattr(one, "dequantized", None) is not None for one in model.modules()):
        settings.append("quant.cache_dequantized=false")
    if not lora_layers(model):
        settings.append("lora=all_linear")
    else:
        lower.append("lora.rank")
        if not any(map(is_4bit_layer, model.modules())):
            settings.append("quant=nf4")
    advice = f"Lower {', '.join(lower[:-1])} or {lower[-1]}"
    return f"{advice}, or use {', '.join(settings)}." if settings else f"{advice}."
