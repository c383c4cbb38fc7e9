"""A model and a micro-batch -> its share of the loss of the whole batch: the one forward pass.

Training and the held-out loss both go through here. Precision is that of the autocast around it.
"""

from typing import Any

import torch
from torch import Tensor

from anima_exp.data.micro_batch import MicroBatch
from anima_exp.model.chunked_loss import chunked_cross_entropy, head_of
from anima_exp.model.varlen_attention import borders


def loss_of(model: Any, batch: MicroBatch) -> Tensor:
    """The sum over the labels of weight x cross-entropy. Call inside `packed_attention`."""
    states = hidden_states(model, batch)
    head = head_of(base_of(model))
    # The head may lie on another GPU than the first block: model.device_map=auto.
    states, batch = states.to(head.weight.device), batch.to(head.weight.device)
    kind = states.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
    with torch.autocast(kind, enabled=False):
        # Its gradient is 2 launches on a GPU. That of states[0, label_positions] is 8, and sorts.
        chosen = states.squeeze(0).index_select(0, batch.label_positions)
        return chunked_cross_entropy(chosen, batch.labels, batch.weights, head, dtype)


def hidden_states(model: Any, batch: MicroBatch) -> Tensor:
    """[1, T, H]: what the head sees of the micro-batch. Call inside `packed_attention`."""
    base = base_of(model)
    apart = borders(base, batch)
    assert apart or len(batch.lengths) == 1
    states: Tensor = decoder_of(base)(
        input_ids=batch.ids, position_ids=batch.positions, use_cache=False, **apart
    ).last_hidden_state
    return states


def base_of(model: Any) -> Any:
    """`model` without what PEFT put around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def decoder_of(base: Any) -> Any:
    """What comes before the head."""
    # Some architectures' own answer is the whole model, and Llama 4's is so twice.
    candidates = (base.get_decoder(), base.base_model, getattr(base, "model", None))
    return next(one for one in candidates if one is not None and one is not base)
