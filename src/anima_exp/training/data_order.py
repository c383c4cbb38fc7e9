"""Compute the order of a run's rows, and which rank computes which row.

The order is one fixed list, a pure function of the seed. So an interrupted run resumes at the row
where it stopped, and two runs with one seed see the same batches.
"""

import random

import numpy as np
import torch
from numpy.typing import NDArray

_BATCHES_IN_A_GROUP = 50  # transformers' LengthGroupedSampler, which QLoRA used


def row_order(
    lengths: NDArray[np.int32], *, rows: int, batch_size: int, seed: int, group_by_length: bool
) -> NDArray[np.int64]:
    """Return the numbers of `rows` rows in training order.

    Every pass contains every row once. A batch may contain rows of two passes, so only the last
    batch can be short.

    Args:
        lengths: tokens of each row, [N].
        rows: the number of rows that the run trains on, repeats counted (planner/lengths.py).
        batch_size: rows per optimizer step.
        group_by_length: whether the rows of a batch have similar lengths. 50 shuffled batches are
            sorted at a time. Each pass starts with its longest row, so a run that is too large for
            memory fails immediately.
    """
    passes = -(-rows // len(lengths))
    orders = []
    for number in range(passes):
        shuffled = np.random.default_rng([seed, number]).permutation(len(lengths))
        if group_by_length:
            shuffled = _grouped(shuffled, lengths, batch_size)
        orders.append(shuffled)
    return np.concatenate(orders)[:rows].astype(np.int64)


def _grouped(
    shuffled: NDArray[np.int64], lengths: NDArray[np.int32], batch_size: int
) -> NDArray[np.int64]:
    # With few rows the groups are smaller, as in transformers, so that some randomness is left.
    batches = min(_BATCHES_IN_A_GROUP, len(shuffled) // (batch_size * 4)) or 1
    size = batches * batch_size
    groups = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
    groups = [group[np.argsort(-lengths[group], kind="stable")] for group in groups]
    first = int(np.argmax([lengths[group[0]] for group in groups]))
    groups[0][0], groups[first][0] = groups[first][0], groups[0][0]
    return np.concatenate(groups)


def assign_rows_to_ranks(lengths: NDArray[np.integer], processes: int) -> NDArray[np.int64]:
    """Return the rank of each row, so that all ranks get about the same number of tokens.

    The rows are dealt from longest to shortest, forth and back (0 1 1 0 0 1 ...). This is a pure
    function of the lengths, so every rank knows the rows of all.

    Args:
        lengths: tokens of each row, [..., batch]; the result has the same shape.
    """
    there_and_back = np.concatenate([np.arange(processes), np.arange(processes)[::-1]])
    dealt = there_and_back[np.arange(lengths.shape[-1]) % (2 * processes)]
    longest_first = np.argsort(-lengths.astype(np.int64), axis=-1, kind="stable")
    result = np.empty(lengths.shape, dtype=np.int64)
    np.put_along_axis(result, longest_first, np.broadcast_to(dealt, lengths.shape), axis=-1)
    return result


def set_seed(seed: int) -> None:
    """Seed the random generators of Python, NumPy, torch and every GPU."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # seeds the GPUs too
