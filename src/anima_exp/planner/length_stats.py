"""Describe how many rows a data set has, and how long they are."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anima_exp.config import DataConfig, MixBy
from anima_exp.data.mixture import wanted_amounts


@dataclass(frozen=True)
class LengthStats:
    """Statistics of a data set's training rows."""

    rows: int  # training rows, before data.max_train_rows
    mean_tokens: float  # per row, after truncation
    mean_label_tokens: float | None = None  # per row, tokens that the loss is computed on


def of_documents(lengths: npt.NDArray[np.int64], left: float, limit: int) -> LengthStats:
    """Return the statistics of documents of these lengths, which are cut into rows.

    Args:
        left: the share of the documents that are not held out.
    """
    rows = np.maximum(-(-(lengths - 1) // (limit - 1)), 1)
    labels = float((lengths - 1).sum()) / float(rows.sum())
    return LengthStats(round(float(rows.sum()) * left), labels + 1, labels)


def of_mixture(data: DataConfig, of_parts: Mapping[str, LengthStats | None]) -> LengthStats | None:
    """Return the statistics of a mixture, whose parts have these; None if those of one are."""
    known = {name: one for name, one in of_parts.items() if one is not None}
    if len(known) < len(of_parts):
        return None
    by_rows = data.mix_by is MixBy.rows
    available = {
        name: one.rows if by_rows else round(one.rows * one.mean_tokens)
        for name, one in known.items()
    }
    wanted = wanted_amounts(data, available)
    rows = {name: wanted[name] / available[name] * one.rows for name, one in known.items()}
    total = sum(rows.values())
    return LengthStats(
        rows=round(total),
        mean_tokens=sum(rows[name] * one.mean_tokens for name, one in known.items()) / total,
        mean_label_tokens=sum(
            rows[name] * (one.mean_label_tokens or 0.0) for name, one in known.items()
        )
        / total,
    )
