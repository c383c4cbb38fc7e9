"""Repeated scores -> their mean with a confidence interval, by Student's t."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, variance

FALSE_POSITIVES = 0.05


def corrected(comparisons: int) -> float:
    """The level of each of several intervals, so that all together hold in 95 % (Bonferroni)."""
    return 1 - FALSE_POSITIVES / max(comparisons, 1)


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval; one value alone has none."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def half(self) -> float | None:
        """The interval is mean ± half."""
        return None if self.high is None else self.high - self.mean

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def mean_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """mean ± t * s / sqrt(n), t with n - 1 degrees of freedom."""
    mean, n = fmean(values), len(values)
    if n < 2:
        return Interval(mean, None, None, n)
    return around(mean, math.sqrt(variance(values) / n), n - 1, n=n, level=level)


def paired(a: Sequence[float], b: Sequence[float], *, level: float = 0.95) -> Interval:
    """a - b, position by position: what both share (a seed, a grid's other settings) cancels."""
    return mean_interval([apart(x, y) for x, y in zip(a, b, strict=True)], level=level)


def apart(x: float, y: float) -> float:
    """x - y, and exactly 0 where they differ by rounding alone."""
    return 0.0 if math.isclose(x, y, rel_tol=1e-12) else x - y


def welch(a: Sequence[float], b: Sequence[float], *, level: float = 0.95) -> Interval:
    """mean(a) - mean(b) of unrelated values, of which each side has at least two."""
    u, v = variance(a) / len(a), variance(b) / len(b)
    degrees = len(a) + len(b) - 2.0
    if u + v > 0:
        degrees = (u + v) ** 2 / (u**2 / (len(a) - 1) + v**2 / (len(b) - 1))
    difference = apart(fmean(a), fmean(b))
    return around(difference, math.sqrt(u + v), degrees, n=len(a) + len(b), level=level)


def around(mean: float, error: float, degrees: float, *, n: int, level: float = 0.95) -> Interval:
    """The interval of an estimate with standard `error` and `degrees` of freedom."""
    half = _quantile(degrees, (1 + level) / 2) * error
    return Interval(mean, mean - half, mean + half, n)


@lru_cache
def _quantile(degrees: float, share: float) -> float:
    # A quarter of a second: only where there are repeats.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    return float(stdtrit(degrees, share))


# How many of how many -> Wilson's 95 % interval of the share.


Z = 1.959964  # of a normal distribution, 95 %


def wilson(count: int, total: int) -> tuple[float, float]:
    """Both ends, from 0 to 1: unlike mean ± error it stays within them, and is never empty."""
    return wilson_of_share(count / total, total)


def wilson_of_share(p: float, total: float) -> tuple[float, float]:
    """The same of a share of `total`, which need not be whole."""
    z2 = Z**2
    middle = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return min(middle - half, p), max(middle + half, p)
