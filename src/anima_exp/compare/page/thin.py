"""Long series -> at most so many points, so that hundreds of runs stay smooth in a browser."""

import math
from collections.abc import Sequence
from typing import TypeVar

Series = tuple[list[float], list[float]]  # x, y
T = TypeVar("T")


def windows(x: Sequence[float], y: Sequence[float], *, at_most: int) -> Series:
    """Means over windows of neighbours, each placed at its last x: for noisy series."""
    wide = max(1, math.ceil(len(x) / at_most))
    starts = range(0, len(x), wide)
    return (
        [x[min(start + wide, len(x)) - 1] for start in starts],
        [_mean(y[start : start + wide]) for start in starts],
    )


def picks(x: Sequence[float], y: Sequence[float], *, at_most: int) -> Series:
    """Some of the points as they are, the first and the last among them."""
    kept = evenly(range(len(x)), at_most=at_most)
    return [x[at] for at in kept], [_rounded(y[at]) for at in kept]


def evenly(values: Sequence[T], *, at_most: int) -> list[T]:
    """`values`, or `at_most` (two or more) of them, evenly from the first to the last."""
    if len(values) <= at_most:
        return list(values)
    step = (len(values) - 1) / (at_most - 1)
    return [values[round(at * step)] for at in range(at_most)]


def _mean(values: Sequence[float]) -> float:
    return _rounded(math.fsum(values) / len(values))


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")  # a plot shows no more, and the page is half as large
