"""Confidence intervals of means (Student's t) and of proportions (Wilson)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, variance

FALSE_POSITIVES = 0.05


def corrected(comparisons: int) -> float:
    """Return the level per interval with which all together hold in 95 % of cases (Bonferroni)."""
    return 1 - FALSE_POSITIVES / max(comparisons, 1)


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval. A single value has no interval."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def half(self) -> float | None:
        """Half the width: the interval is mean ± half."""
        return None if self.high is None else self.high - self.mean

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def mean_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Return mean ± t * s / sqrt(n), with n - 1 degrees of freedom."""
    mean, n = fmean(values), len(values)
    if n < 2:
        return Interval(mean, None, None, n)
    return around(mean, math.sqrt(variance(values) / n), n - 1, n=n, level=level)


def paired(a: Sequence[float], b: Sequence[float], *, level: float = 0.95) -> Interval:
    """Return the interval of a - b, pairwise, so that common effects (seed, settings) cancel."""
    return mean_interval([apart(x, y) for x, y in zip(a, b, strict=True)], level=level)


def apart(x: float, y: float) -> float:
    """Return x - y, and exactly 0 if they differ only by rounding."""
    return 0.0 if math.isclose(x, y, rel_tol=1e-12) else x - y


def welch(a: Sequence[float], b: Sequence[float], *, level: float = 0.95) -> Interval:
    """Return the interval of mean(a) - mean(b) for independent values (Welch), two or more each."""
    u, v = variance(a) / len(a), variance(b) / len(b)
    degrees = len(a) + len(b) - 2.0
    if u + v > 0:
        degrees = (u + v) ** 2 / (u**2 / (len(a) - 1) + v**2 / (len(b) - 1))
    difference = apart(fmean(a), fmean(b))
    return around(difference, math.sqrt(u + v), degrees, n=len(a) + len(b), level=level)


def around(mean: float, error: float, degrees: float, *, n: int, level: float = 0.95) -> Interval:
    """Return the interval of an estimate with standard `error` and `degrees` of freedom."""
    half = _quantile(degrees, (1 + level) / 2) * error
    return Interval(mean, mean - half, mean + half, n)


@lru_cache
def _quantile(degrees: float, share: float) -> float:
    # The import takes a quarter of a second, so it is done only for repeated runs.
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    return float(stdtrit(degrees, share))


Z = 1.959964  # 97.5 % quantile of the normal distribution


def wilson(count: int, total: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of count / total, which stays within 0 and 1."""
    return wilson_of_share(count / total, total)


def wilson_of_share(p: float, total: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a proportion of `total`, which may be a fraction."""
    z2 = Z**2
    middle = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = Z * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return min(middle - half, p), max(middle + half, p)
