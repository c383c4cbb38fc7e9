"""The source row of each example -> which are trained on and which are held out, by seed."""

import numpy as np
import numpy.typing as npt

from anima_exp.errors import DataError

Order = npt.NDArray[np.int64]


def split(rows: npt.NDArray[np.int64], *, heldout: int, seed: int) -> tuple[Order, Order]:
    """(train, held out), shuffled: what Dataset.train_test_split gives for the same seed.

    Args:
        rows: the source row of each example, ascending, `[N]`. All examples of one row stay on
            one side: rewordings of a row that is trained on would be no held-out examples.
        heldout: how many source rows to hold out.

    Raises:
        DataError: nothing would be left to train on.
    """
    _, starts, counts = np.unique(rows, return_index=True, return_counts=True)
    check_heldout(heldout, of=len(starts))
    order = shuffled(len(starts), seed=seed)
    return _examples(order[heldout:], starts, counts), _examples(order[:heldout], starts, counts)


def check_heldout(heldout: int, *, of: int) -> None:
    """Raise DataError if nothing would be left to train on."""
    if heldout >= of:
        raise DataError(
            f"data.heldout_rows={heldout} leaves nothing to train on: "
            f"there are {of} rows. "
            f"Hold out fewer, for example data.heldout_rows={max(1, of // 10)}."
        )


def _examples(order: Order, starts: Order, counts: Order) -> Order:
    """The examples of the source rows in `order`, those of one row side by side."""
    many = counts[order]
    within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    order = np.repeat(starts[order], many) + within
    return order


def shuffled(count: int, *, seed: int) -> Order:
    return np.random.default_rng(seed).permutation(count)


def first(order: Order, most: int | None) -> Order:
    """The first of a shuffled order: a smaller choice lies inside every larger one."""
    return order[:most]
