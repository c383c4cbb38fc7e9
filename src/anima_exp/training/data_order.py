"""Row lengths -> the order in which a whole run sees its rows.

The order is one fixed list, a pure function of the seed. So a run that was interrupted goes on at
the row where it stopped, and two runs with one seed see the same batches.
"""

import random

import numpy as np
import torch
from numpy.typing import NDArray

_BATCHES_IN_A_GROUP = 50  # transformers' LengthGroupedSampler, which QLoRA used


def row_order(
    lengths: NDArray[np.int32], *, rows: int, batch_size: int, seed: int, group_by_length: bool
) -> NDArray[np.int64]:
    """`rows` row numbers: every row once a pass, passes joined without a short batch between.

    Args:
        lengths: tokens of each row, `[N]`.
        rows: how many rows the run sees in all (planner/lengths.py).
        batch_size: examples per optimizer step; with `group_by_length` those of one batch are of
            similar length. 50 shuffled batches are sorted at a time, and each pass begins with
            its longest row, so that a run too large for memory fails at once.
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
    # Few rows make smaller groups, as in transformers, so that some randomness is left.
    batches = min(_BATCHES_IN_A_GROUP, len(shuffled) // (batch_size * 4)) or 1
    size = batches * batch_size
    groups = [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
    groups = [group[np.argsort(-lengths[group], kind="stable")] for group in groups]
    first = int(np.argmax([lengths[group[0]] for group in groups]))
    groups[0][0], groups[first][0] = groups[first][0], groups[0][0]
    return np.concatenate(groups)


# Row lengths of a batch -> which process computes which rows, so that all have as many tokens.


def assign_rows_to_ranks(lengths: NDArray[np.integer], processes: int) -> NDArray[np.int64]:
    """By row, the number of its process, `[..., batch]` as `lengths`.

    Longest first, dealt out there and back again (0 1 1 0 0 1 ...): within a batch lengths are
    alike, and so the sums are. A pure function of the lengths: every process knows all shares.
    """
    there_and_back = np.concatenate([np.arange(processes), np.arange(processes)[::-1]])
    dealt = there_and_back[np.arange(lengths.shape[-1]) % (2 * processes)]
    longest_first = np.argsort(-lengths.astype(np.int64), axis=-1, kind="stable")
    found = np.empty(lengths.shape, dtype=np.int64)
    np.put_along_axis(found, longest_first, np.broadcast_to(dealt, lengths.shape), axis=-1)
    return found


# One seed -> the generators of Python, NumPy, torch and every GPU.


def set_seed(seed: int) -> None:
    """Let what is drawn from here on depend on `seed` alone."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # of the GPUs too
