"""How many of how many -> Wilson's 95 % interval of the share."""

import math

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
