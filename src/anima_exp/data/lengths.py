"""Lengths in tokens -> quantiles, what a limit cuts off, and a limit to recommend.

The quantiles are those of Anima's length script, which counts as we do: BOS with the prompt, one
special token with the response.
"""

import math
from dataclasses import dataclass

import numpy as np

from anima_exp.data.rows import Counted

QUANTILES = (0.8, 0.85, 0.9, 0.95, 0.98)
COVERED = 0.98  # share of the rows that a recommended limit leaves whole
STEP = 16  # tensor cores work on multiples of it


@dataclass(frozen=True)
class Cut:
    """What a limit does to a set."""

    rows: int
    share: float  # of all rows
    tokens: int
    tokens_share: float  # of all tokens


def quantiles(lengths: Counted) -> list[float]:
    """One length for each of QUANTILES, then the longest."""
    return [*np.quantile(lengths, QUANTILES).tolist(), float(lengths.max())]


def cut(lengths: Counted, limit: int) -> Cut:
    over = np.maximum(lengths.astype(np.int64) - limit, 0)
    rows, tokens = int((over > 0).sum()), int(over.sum())
    return Cut(rows, rows / len(lengths), tokens, tokens / max(int(lengths.sum(dtype=np.int64)), 1))


def recommended(lengths: Counted) -> int:
    """The smallest multiple of STEP that leaves at least COVERED of the rows whole."""
    needed = np.quantile(lengths, COVERED, method="inverted_cdf")
    return max(math.ceil(needed / STEP), 1) * STEP  # where every prompt is empty, one STEP
