"""Choose which rows are trained on, and which are held out, and in which order."""

import numpy as np
import numpy.typing as npt

from anima_exp.config import DataConfig
from anima_exp.errors import DataError

Order = npt.NDArray[np.int64]


def split(rows: npt.NDArray[np.int64], *, heldout: int, seed: int) -> tuple[Order, Order]:
    """Split examples into (training, held out), both shuffled.

    The split is that of Dataset.train_test_split with the same seed.

    Args:
        rows: the source row of each example, ascending, `[N]`. All examples of a row stay on one
            side of the split, because they are rewordings of each other.
        heldout: how many source rows to hold out.

    Raises:
        DataError: if nothing would be left to train on.
    """
    _, starts, counts = np.unique(rows, return_index=True, return_counts=True)
    check_heldout(heldout, of=len(starts))
    order = shuffled(len(starts), seed=seed)
    return _examples_of_rows(order[heldout:], starts, counts), _examples_of_rows(
        order[:heldout], starts, counts
    )


def orders(
    config: DataConfig,
    rows: npt.NDArray[np.int64],
    held_rows: npt.NDArray[np.int64],
    *,
    own_source: bool,
) -> tuple[Order, Order]:
    """Return which examples are trained on, and which are held out, in their order.

    Args:
        rows: the source row of each training example, ascending.
        held_rows: the same of the examples from which held-out ones are taken.
        own_source: the held-out rows have a source of their own.

    Raises:
        DataError: if nothing would be left to train on.
    """
    seed = config.heldout_seed
    if own_source:
        order = shuffled(len(rows), seed=seed)
        # A separate held-out source may have fewer rows than data.heldout_rows. Then all are used.
        held_order = first(shuffled(len(held_rows), seed=seed), config.heldout_rows)
    else:
        order, held_order = split(rows, heldout=config.heldout_rows, seed=seed)
    return first(order, config.max_train_rows), held_order


def orders_of_read(
    config: DataConfig,
    rows: npt.NDArray[np.int64],
    held_rows: npt.NDArray[np.int64],
    *,
    read: npt.NDArray[np.int64] | None,
) -> tuple[Order, Order]:
    """Return the same as `orders`, but draw from all source rows, usable or not.

    Which conversations can be used depends on settings, such as data.max_tokens. Drawn from all
    rows, a held-out row is never a training row of a run with other settings.

    Args:
        read: the numbers of all source rows; None if the held-out rows have a source of their own.

    Raises:
        DataError: if nothing would be left to train on, or no held-out row can be used.
    """
    if read is None:
        return orders(config, rows, held_rows, own_source=True)
    check_heldout(config.heldout_rows, of=len(read))
    drawn = read[shuffled(len(read), seed=config.heldout_seed)]
    order = _same_rows(drawn[config.heldout_rows :], rows)
    held_order = _same_rows(drawn[: config.heldout_rows], held_rows)
    if not len(order):
        raise DataError(
            f"data.heldout_rows={config.heldout_rows} leaves nothing to train on: all rows that "
            "can be trained on are held out. Hold out fewer."
        )
    if config.heldout_rows and not len(held_order):
        raise DataError(
            f"data.heldout_rows={config.heldout_rows}: none of the rows held out can be used. They "
            f"are drawn from all {len(read)} rows. Hold out more, or give data.heldout_path=FILE."
        )
    return first(order, config.max_train_rows), held_order


def _same_rows(wanted: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> Order:
    """Return the examples of the source rows `wanted`, in their order. Some may have none."""
    _, at = np.unique(wanted, return_index=True)
    chosen = wanted[np.sort(at)]
    starts = np.searchsorted(rows, chosen, side="left")
    counts = np.searchsorted(rows, chosen, side="right") - starts
    return _examples_of_rows(np.arange(len(chosen)), starts, counts)


def check_heldout(heldout: int, *, of: int) -> None:
    """Raise DataError if nothing would be left to train on."""
    if heldout >= of:
        raise DataError(
            f"data.heldout_rows={heldout} leaves nothing to train on: there "
            + (
                f"are {of} rows. Hold out fewer, for example data.heldout_rows={max(1, of // 10)}."
                if of > 1
                else f"is {of} row. A run with held-out rows needs two rows or more. To train "
                "without them, add data.heldout_rows=0 evals=[]."
            )
        )


def _examples_of_rows(order: Order, starts: Order, counts: Order) -> Order:
    """Return the examples of the source rows in `order`, those of one row next to each other."""
    many = counts[order]
    within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    order = np.repeat(starts[order], many) + within
    return order


def shuffled(count: int, *, seed: int) -> Order:
    """Return a random permutation of `count` numbers."""
    return np.random.default_rng(seed).permutation(count)


def first(order: Order, limit: int | None) -> Order:
    """Return the first `limit` of a shuffled order. A smaller choice is a part of a larger one."""
    return order[:limit]
