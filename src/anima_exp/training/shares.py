"""Row lengths of a batch -> which process computes which rows, so that all have as many tokens."""

import numpy as np
from numpy.typing import NDArray


def shares(lengths: NDArray[np.integer], processes: int) -> NDArray[np.int64]:
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
