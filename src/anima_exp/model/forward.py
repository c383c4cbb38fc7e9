"""Compute the forward pass of a micro-batch and its part of the batch's loss.

Training and the held-out loss both use it. The surrounding autocast sets the precision.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from anima_exp.data.micro_batch import MicroBatch
from anima_exp.libraries.peft_internals import base_of
from anima_exp.model.chunked_loss import Head, chunked_cross_entropy, head_of
from anima_exp.model.varlen_attention import borders

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def loss_of(model: "PreTrainedModel | PeftModel", batch: MicroBatch) -> Tensor:
    """Return the sum over the labels of weight x cross-entropy. Call inside `packed_attention`."""
    head, dtype, states, batch = _before_head(model, batch)
    with torch.autocast(states.device.type, enabled=False):
        # The gradient of index_select takes 2 launches on a GPU. That of
        # states[0, label_positions] takes 8 and sorts.
        chosen = states.squeeze(0).index_select(0, batch.label_positions)
        return chunked_cross_entropy(chosen, batch.labels, batch.weights, head, dtype)


def row_losses(model: "PreTrainedModel | PeftModel", batch: MicroBatch) -> Tensor:
    """Return the sum of weight x cross-entropy of each row, in fp32, for evaluations.

    Call it inside `packed_attention`.
    """
    head, dtype, states, batch = _before_head(model, batch)
    starts = batch.starts.to(batch.label_positions.device)
    row_of = torch.searchsorted(starts, batch.label_positions, right=True) - 1
    found = []
    with torch.autocast(states.device.type, enabled=False):
        for row in range(len(batch.lengths)):
            own = (row_of == row).nonzero()[:, 0]
            chosen = states.squeeze(0).index_select(0, batch.label_positions[own])
            losses = chunked_cross_entropy(
                chosen, batch.labels[own], batch.weights[own], head, dtype
            )
            found.append(losses)
    return torch.stack(found)


def _before_head(
    model: "PreTrainedModel | PeftModel", batch: MicroBatch
) -> tuple[Head, torch.dtype, Tensor, MicroBatch]:
    """Return the head, the type of the product with it, the hidden states, and the batch."""
    states = hidden_states(model, batch)
    head = head_of(base_of(model))
    # With model.device_map=auto the head may be on another GPU than the first block.
    states, batch = states.to(head.weight.device), batch.to(head.weight.device)
    kind = states.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
    return head, dtype, states, batch


def hidden_states(model: "PreTrainedModel | PeftModel", batch: MicroBatch) -> Tensor:
    """Return the hidden states [1, T, H] before the head. Call inside `packed_attention`."""
    base = base_of(model)
    apart = borders(base, batch)
    assert apart or len(batch.lengths) == 1
    states: Tensor = decoder_of(base)(
        input_ids=batch.ids, position_ids=batch.positions, use_cache=False, **apart
    ).last_hidden_state
    return states


def decoder_of(base: "PreTrainedModel | PeftModel") -> Any:
    """Return the part of a causal language model before the head."""
    # For some architectures get_decoder() is the model itself; for Llama 4 base_model is too.
    candidates = (base.get_decoder(), base.base_model, getattr(base, "model", None))
    head = base.get_output_embeddings()  # get_decoder() of ModernBERT's decoder is the head
    return next(one for one in candidates if one is not None and one not in (base, head))
