"""Matches -> Elo ratings over many random orders, as QLoRA's Tables 1 and 7."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anima_exp.elo.matches import Matches

SCALE = 400.0  # 400 points more are 10 to 1 odds
_AT_ONCE = 100_000_000  # bytes of places held at a time: 10,000 orders of 5,000 matches


@dataclass(frozen=True)
class Rating:
    player: str
    mean: float  # over the orders
    half: float  # mean ± half: the 95 % interval of that mean, which more orders shrink
    deviation: float  # standard deviation over the orders: of one of them
    low: float  # 2.5th and 97.5th percentile of the orders
    high: float


def elo(
    matches: Matches,
    *,
    orders: int = 10_000,
    per_order: int | None = None,
    k: float = 32.0,
    start: float = 1000.0,
    seed: int = 0,
) -> list[Rating]:
    """Every order starts anew and plays `per_order` matches drawn without replacement.

    Args:
        per_order: all where None. The published ratings of Table 1 need about 500 of the 4,480:
            found by trying, the paper does not say.

    Returns:
        The best first.
    """
    length = min(per_order or len(matches.points), len(matches.points))
    ratings = _play(matches, orders, length, k, start, seed)
    deviations = ratings.std(axis=1, ddof=1) if orders > 1 else np.zeros(len(ratings))
    low, high = np.quantile(ratings, [0.025, 0.975], axis=1)
    found = [
        Rating(
            player=player,
            mean=float(ratings[at].mean()),
            half=float(1.96 * deviations[at] / math.sqrt(orders)),
            deviation=float(deviations[at]),
            low=float(low[at]),
            high=float(high[at]),
        )
        for at, player in enumerate(matches.players)
    ]
    return sorted(found, key=lambda one: -one.mean)


def _play(
    matches: Matches, orders: int, length: int, k: float, start: float, seed: int
) -> NDArray[np.float64]:
    """Final ratings, [P, R]: P players, R orders. All orders take a step at a time together."""
    total, players = len(matches.points), len(matches.players)
    if not total:
        return np.full((players, orders), start)
    places: type[np.unsignedinteger] = np.uint16 if total < 2**16 else np.uint32
    chunk = max(1, min(orders, _AT_ONCE // (total * np.dtype(places).itemsize)))
    generator, done = np.random.default_rng(seed), []
    for begun in range(0, orders, chunk):
        width = min(chunk, orders - begun)
        drawn = np.repeat(np.arange(total, dtype=places)[:, None], width, axis=1).ravel()
        across = np.arange(width)
        ratings = np.full(players * width, start)
        for step in range(length):
            # A partial Fisher-Yates shuffle: what is drawn goes to `step`, in every order.
            other = generator.integers(step, total, size=width) * width + across
            match = drawn[other]
            drawn[other] = drawn[step * width : (step + 1) * width]
            first = matches.first[match] * width + across
            second = matches.second[match] * width + across
            ours, theirs = ratings[first], ratings[second]
            change = np.exp((theirs - ours) * (math.log(10) / SCALE))
            change += 1
            change = k * (matches.points[match] - 1 / change)
            ratings[first] = ours + change
            ratings[second] = theirs - change
        done.append(ratings.reshape(players, width))
    return np.concatenate(done, axis=1)
