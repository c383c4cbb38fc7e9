"""A model and a micro-batch -> its share of the loss of the whole batch: the one forward pass.

Training and the held-out loss both go through here. Precision is that of the autocast around it.
"""

from typing import Any

import torch
from torch import Tensor

from anima_exp.data.micro_batch import MicroBatch
from anima_exp.model.attention import borders
from anima_exp.model.loss import head_of, label_loss


def loss_of(model: Any, batch: MicroBatch) -> Tensor:
    """The sum over the labels of weight x cross-entropy. Call inside `rows_apart`."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    apart = borders(base, batch)
    assert apart or len(batch.lengths) == 1
    states = base.get_decoder()(
        input_ids=batch.ids, position_ids=batch.positions, use_cache=False, **apart
    ).last_hidden_state
    kind = states.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
    with torch.autocast(kind, enabled=False):
        return label_loss(
            states[0, batch.predicting], batch.labels, batch.weights, head_of(base), dtype
        )
