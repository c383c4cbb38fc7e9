"""Compute the forward pass of a micro-batch and its part of the batch's loss.

Training and the held-out loss both use it. The surrounding autocast sets the precision.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from anima_exp.data.micro_batch import MicroBatch
from anima_exp.model.chunked_loss import chunked_cross_entropy, head_of
from anima_exp.model.varlen_attention import borders

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def loss_of(model: "PreTrainedModel | PeftModel", batch: MicroBatch) -> Tensor:
    """Return the sum over the labels of weight x cross-entropy. Call inside `packed_attention`."""
    states = hidden_states(model, batch)
    head = head_of(base_of(model))
    # With model.device_map=auto the head may be on another GPU than the first block.
    states, batch = states.to(head.weight.device), batch.to(head.weight.device)
    kind = states.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
    with torch.autocast(kind, enabled=False):
        # The gradient of index_select takes 2 launches on a GPU. That of
        # states[0, label_positions] takes 8 and sorts.
        chosen = states.squeeze(0).index_select(0, batch.label_positions)
        return chunked_cross_entropy(chosen, batch.labels, batch.weights, head, dtype)


def hidden_states(model: "PreTrainedModel | PeftModel", batch: MicroBatch) -> Tensor:
    """Return the hidden states [1, T, H] before the head. Call inside `packed_attention`."""
    base = base_of(model)
    apart = borders(base, batch)
    assert apart or len(batch.lengths) == 1
    states: Tensor = decoder_of(base)(
        input_ids=batch.ids, position_ids=batch.positions, use_cache=False, **apart
    ).last_hidden_state
    return states


def base_of(model: Any) -> Any:
    """Return the transformers model inside PEFT's wrapper, or `model` itself without one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def decoder_of(base: "PreTrainedModel | PeftModel") -> Any:
    """Return the part of a causal language model before the head."""
    # For some architectures get_decoder() is the model itself; for Llama 4 base_model is too.
    candidates = (base.get_decoder(), base.base_model, getattr(base, "model", None))
    head = base.get_output_embeddings()  # get_decoder() of ModernBERT's decoder is the head
    return next(one for one in candidates if one is not None and one not in (base, head))
