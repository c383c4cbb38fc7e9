"""Pack the rows of an optimizer batch into micro-batches, one after the other without padding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from anima_exp.config import LossNormalization
from anima_exp.data.encode import IGNORE

Row = Mapping[str, Any]  # input_ids and labels of one example


@dataclass(frozen=True)
class MicroBatch:
    """Rows of a batch as one sequence of T tokens, L of which predict a label."""

    ids: Tensor  # [1, T]
    positions: Tensor  # [1, T], from 0 in every row
    lengths: tuple[int, ...]  # of the rows; their sum is T
    starts: Tensor  # [rows + 1] int32: the start of each row, and T (FlashAttention's cu_seqlens)
    label_positions: Tensor  # [L] the tokens whose successor is a label
    labels: Tensor  # [L] those labels
    weights: Tensor  # [L] fp32: the weight of each label in the loss of the whole batch
    rows: tuple[int, ...]  # the numbers of the rows in the batch

    def to(self, device: torch.device) -> "MicroBatch":
        """Return a copy with all tensors on `device`."""
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def pack_first_fit(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Distribute rows of these lengths over micro-batches of at most `budget` tokens each.

    The method is first-fit decreasing, which needs at most 11/9 of the smallest possible number of
    micro-batches. A row longer than the budget gets its own micro-batch.
    """
    bins: list[list[int]] = []
    free: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        fits = (number for number, tokens in enumerate(free) if lengths[row] <= tokens)
        number = next(fits, None)
        if number is None:
            bins.append([])
            free.append(budget)
            number = len(bins) - 1
        bins[number].append(row)
        free[number] -= lengths[row]
    return bins


def label_weights(rows: Sequence[Row], average: LossNormalization) -> list[float]:
    """Return for each row of a batch the weight of one of its labels in the loss."""
    return (token_weights if average is LossNormalization.token else row_weights)(rows)


def token_weights(rows: Sequence[Row]) -> list[float]:
    """Return for each row the weight of a label if all labels of the batch count the same."""
    total = sum(label_count(row) for row in rows)
    return [1 / max(total, 1)] * len(rows)


def row_weights(rows: Sequence[Row]) -> list[float]:
    """Return for each row the weight of a label if all rows with labels count the same."""
    counts = [label_count(row) for row in rows]
    labelled = max(sum(count > 0 for count in counts), 1)
    return [1 / (labelled * max(count, 1)) for count in counts]


def label_count(row: Row) -> int:
    """Count the labels that the model predicts: nothing predicts the first token of a row."""
    return int((row["labels"][1:] != IGNORE).sum())


def pack_rows(rows: Sequence[Row], chosen: Sequence[int], weights: Sequence[float]) -> MicroBatch:
    """Concatenate rows of a batch to a micro-batch.

    Args:
        chosen: the numbers of the rows, in their order.
        weights: the weight of a label of each row of the batch.
    """
    ids, positions, label_positions, labels, counts = [], [], [], [], []
    start, starts = 0, [0]
    for number in chosen:
        row = rows[number]
        row_ids, row_labels = (torch.as_tensor(row[key]) for key in ("input_ids", "labels"))
        # The token before a label predicts it, within the same row.
        labelled = (row_labels[1:] != IGNORE).nonzero()[:, 0]
        ids.append(row_ids)
        positions.append(torch.arange(len(row_ids)))
        label_positions.append(labelled + start)
        labels.append(row_labels[1:][labelled])
        counts.append(torch.full((len(labelled),), weights[number], dtype=torch.float32))
        start += len(row_ids)
        starts.append(start)
    return MicroBatch(
        ids=torch.cat(ids)[None],
        positions=torch.cat(positions)[None],
        lengths=tuple(map(len, ids)),
        starts=torch.tensor(starts, dtype=torch.int32),
        label_positions=torch.cat(label_positions),
        labels=torch.cat(labels),
        weights=torch.cat(counts),
        rows=tuple(chosen),
    )
