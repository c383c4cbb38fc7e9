"""Compute reference gradients row by row with transformers' and PEFT's own forward pass."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy

from anima_exp.data.encode import IGNORE
from anima_exp.data.micro_batch import Row
from anima_exp.model.lora_linear import original_peft_forward

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def reference_gradients(
    model: "PreTrainedModel | PeftModel", rows: Sequence[Row], weights: Sequence[float]
) -> float:
    """Add the gradients of the weighted loss to `model`, and return the loss.

    All logits of a row are in memory at once.
    """
    total = 0.0
    with original_peft_forward(model):
        for row, weight in zip(rows, weights, strict=True):
            ids, labels = (
                torch.as_tensor(row[key], device=model.device) for key in ("input_ids", "labels")
            )
            logits = model(input_ids=ids[None], use_cache=False).logits[0, :-1].float()
            loss = cross_entropy(logits, labels[1:], ignore_index=IGNORE, reduction="sum") * weight
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
    return total
