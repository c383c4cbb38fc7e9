"""Row lengths -> the order in which a whole run sees its rows.

The order is one fixed list, a pure function of the seed. So a run that was interrupted goes on at
the row where it stopped, and two runs with one seed see the same batches.
"""

import numpy as np
from numpy.typing import NDArray

_BATCHES_IN_A_GROUP = 50  # transformers' LengthGroupedSampler, which QLoRA used


def row_order(
    lengths: NDArray[np.int32], *, rows: int, batch_size: int, seed: int, group_by_length: bool
) -> NDArray[np.int64]:
    """`rows` row numbers: every row once a pass, passes joined without a short batch between.

    Args:
        lengths: tokens of each row, `[N]`.
        rows: how many rows the run sees in all (plan/lengths.py).
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
