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
    """Some rows of a batch as one sequence of T tokens, of which L predict a label."""

    ids: Tensor  # [1, T]
    positions: Tensor  # [1, T], from 0 in every row
    lengths: tuple[int, ...]  # of the rows, sum T
    starts: Tensor  # [rows + 1] int32: where each row begins, and T
    label_positions: Tensor  # [L] the tokens whose successor is a label
    labels: Tensor  # [L] those successors
    weights: Tensor  # [L] fp32: what each label counts in the loss of the whole batch
    rows: tuple[int, ...]  # their numbers in the batch

    def to(self, device: torch.device) -> "MicroBatch":
        moved: dict[str, Any] = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def pack_first_fit(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Rows of these lengths into as few micro-batches of at most `budget` tokens as go.

    A row longer than the budget stands alone. Longest first into the first that has room, which
    needs at most 11/9 of the fewest possible; within a micro-batch the longest row leads.
    """
    bins: list[list[int]] = []
    room: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        fits = (number for number, left in enumerate(room) if lengths[row] <= left)
        number = next(fits, None)
        if number is None:
            bins.append([])
            room.append(budget)
            number = len(bins) - 1
        bins[number].append(row)
        room[number] -= lengths[row]
    return bins


def label_weights(rows: Sequence[Row], average: LossNormalization) -> list[float]:
    """By row of a batch, what one of its labels counts in the loss."""
    return (token_weights if average is LossNormalization.token else row_weights)(rows)


def token_weights(rows: Sequence[Row]) -> list[float]:
    """By row, what one of its labels counts: all labels of the batch the same."""
    total = sum(label_count(row) for row in rows)
    return [1 / max(total, 1)] * len(rows)


def row_weights(rows: Sequence[Row]) -> list[float]:
    """By row, what one of its labels counts: all rows that have labels the same."""
    counts = [label_count(row) for row in rows]
    labelled = max(sum(count > 0 for count in counts), 1)
    return [1 / (labelled * max(count, 1)) for count in counts]


def label_count(row: Row) -> int:
    """Labels that something predicts: a row's first token has no predecessor."""
    return int((row["labels"][1:] != IGNORE).sum())


def pack_rows(rows: Sequence[Row], chosen: Sequence[int], weights: Sequence[float]) -> MicroBatch:
    """The rows numbered `chosen`, in this order; `weights` are those of all rows of the batch."""
    ids, positions, label_positions, labels, counts = [], [], [], [], []
    start, starts = 0, [0]
    for number in chosen:
        row = rows[number]
        row_ids, row_labels = (torch.as_tensor(row[key]) for key in ("input_ids", "labels"))
        # A label is predicted by the token before it, within its own row.
        known = (row_labels[1:] != IGNORE).nonzero()[:, 0]
        ids.append(row_ids)
        positions.append(torch.arange(len(row_ids)))
        label_positions.append(known + start)
        labels.append(row_labels[1:][known])
        counts.append(torch.full((len(known),), weights[number], dtype=torch.float32))
        start += len(row_ids)
        starts.append(start)
    return MicroBatch(
        ids=torch.cat(ids)[None],
        positions=torch.cat(positions)[None],
        lengths=tuple(len(one) for one in ids),
        starts=torch.tensor(starts, dtype=torch.int32),
        label_positions=torch.cat(label_positions),
        labels=torch.cat(labels),
        weights=torch.cat(counts),
        rows=tuple(chosen),
    )
