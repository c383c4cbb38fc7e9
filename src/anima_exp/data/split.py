"""A number of examples -> which are trained on and which are held out, by seed."""

import numpy as np
import numpy.typing as npt

from anima_exp.errors import DataError

Order = npt.NDArray[np.int64]


def split(count: int, *, heldout: int, seed: int) -> tuple[Order, Order]:
    """(train, held out), shuffled: what Dataset.train_test_split gives for the same seed.

    Raises:
        DataError: nothing would be left to train on.
    """
    if heldout >= count:
        raise DataError(
            f"data.heldout_rows={heldout} leaves nothing to train on: there are {count} examples. "
            f"Hold out fewer, for example data.heldout_rows={count // 10}."
        )
    order = shuffled(count, seed=seed)
    return order[heldout:], order[:heldout]


def shuffled(count: int, *, seed: int) -> Order:
    return np.random.default_rng(seed).permutation(count)


def first(order: Order, most: int | None) -> Order:
    """The first of a shuffled order: a smaller choice lies inside every larger one."""
    return order[:most]
