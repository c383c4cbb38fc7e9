"""A model and the rows set aside -> the loss per response token."""

from typing import Any

import torch
from torch.nn.functional import cross_entropy

from anima_exp.config import HeldoutConfig
from anima_exp.data.collate import collate
from anima_exp.data.encode import IGNORE


def heldout_loss(model: Any, tokenizer: Any, rows: Any, config: HeldoutConfig) -> float:
    """Nats per label token, over all label tokens of the first `config.max_rows` rows.

    Every token weighs the same: a mean of batch means, as the Trainer gives, would let short
    answers weigh more. Call inside `inference`.
    """
    count = min(len(rows), len(rows) if config.max_rows is None else config.max_rows)
    by_length = sorted(range(count), key=lambda number: -int(rows.lengths[number]))
    total, labelled = 0.0, 0
    for start in range(0, count, config.batch_size):
        chosen = by_length[start : start + config.batch_size]
        batch = collate([rows[number] for number in chosen], pad=tokenizer.pad_token_id)
        labels = batch.pop("labels")[:, 1:]
        learnt = (labels != IGNORE).to(model.device)
        logits = model(**{key: value.to(model.device) for key, value in batch.items()}).logits
        for row, known, answer in zip(logits, learnt, labels.to(model.device), strict=True):
            # Row by row: a batch of them in fp32 takes more memory than training does.
            total += _sum(row[:-1][known], answer[known])
        labelled += int(learnt.sum())
    return total / max(labelled, 1)


def _sum(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Summed cross-entropy of `logits` `[L, V]` at the L label positions."""
    return float(cross_entropy(logits.float(), labels, reduction="sum"))
