"""Compute from the lengths of rows what a limit cuts off, and which limit to recommend."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anima_exp.data.rows import Int32Array

# The quantiles of Anima's length script, which counts BOS with the prompt and EOS with the
# response.
QUANTILES = (0.8, 0.85, 0.9, 0.95, 0.98)
COVERED = 0.98  # proportion of the rows that a recommended limit does not truncate
STEP = 16  # tensor cores work on multiples of it
_BINS = 40  # of a histogram


@dataclass(frozen=True)
class Truncation:
    """How many rows and tokens a limit cuts off."""

    rows: int
    rows_proportion: float
    tokens: int
    tokens_proportion: float


def quantiles(lengths: Int32Array) -> list[float]:
    """Return the length at each of QUANTILES, then the longest."""
    return [*np.quantile(lengths, QUANTILES).tolist(), float(lengths.max())]


def truncation(lengths: Int32Array, limit: int) -> Truncation:
    """Return what `limit` cuts off of rows of these lengths."""
    over = np.maximum(lengths.astype(np.int64) - limit, 0)
    rows, tokens = int((over > 0).sum()), int(over.sum())
    total = max(int(lengths.sum(dtype=np.int64)), 1)
    return Truncation(rows, rows / len(lengths), tokens, tokens / total)


def recommended(lengths: Int32Array) -> int:
    """Return the smallest multiple of STEP that truncates at most 1 - COVERED of the rows."""
    needed = np.quantile(lengths, COVERED, method="inverted_cdf")
    return max(math.ceil(needed / STEP), 1) * STEP  # at least one STEP, even for empty prompts


def histogram(lengths: Int32Array) -> tuple[list[int], list[int]]:
    """Return the edges of bins of lengths, and how many lengths are from each edge to the next.

    Each bin is wider than the one before by the same factor, because a few rows of most data sets
    are many times longer than the others. Lengths of 0 are not counted.
    """
    lengths = lengths[lengths > 0]
    if not len(lengths):
        return [1, 2], [0]
    low, high = int(lengths.min()), int(lengths.max()) + 1
    edges: npt.NDArray[np.int64] = np.unique(np.geomspace(low, high, _BINS + 1).round()).astype(int)
    counts, _ = np.histogram(lengths, edges)
    return edges.tolist(), counts.tolist()
