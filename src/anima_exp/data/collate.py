"""Rows of token ids -> one padded batch of tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from anima_exp.data.encode import IGNORE


def collate(rows: Sequence[Mapping[str, Any]], *, pad: int) -> dict[str, Tensor]:
    """`input_ids`, `labels` and `attention_mask`, each `[B, T]`: B rows, T the longest of them.

    Padding is on the right. The mask comes from the lengths, never from the ids (qlora.py's
    ids != pad also hides real tokens where EOS serves as padding).
    """
    longest = max(len(row["input_ids"]) for row in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.long)
    labels = torch.full((len(rows), longest), IGNORE, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        length = len(row["input_ids"])
        ids[number, :length] = torch.as_tensor(row["input_ids"])
        labels[number, :length] = torch.as_tensor(row["labels"])
        mask[number, :length] = 1
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}
