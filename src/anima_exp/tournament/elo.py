"""Rate players by Elo, averaged over many random orders of the matches (QLoRA, Tables 1 and 7)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anima_exp.tournament.progress import Say, quiet
from anima_exp.tournament.verdicts import Verdict

# The matches of a tournament, made from verdicts.


@dataclass(frozen=True)
class Matches:
    """Matches as arrays [N], in the order of the verdicts."""

    players: list[str]
    first: NDArray[np.int64]  # indices in `players`
    second: NDArray[np.int64]
    points: NDArray[np.float64]  # of the player shown first: 1, 0.5 or 0
    question: NDArray[np.int64]  # numbered from 0
    verdicts: list[Verdict]
    dropped: int

    @property
    def questions(self) -> int:
        return int(self.question.max()) + 1 if len(self.question) else 0


def matches(verdicts: Sequence[Verdict], *, ties: str = "half", unparsed: str = "tie") -> Matches:
    """Make matches of verdicts. In a relative verdict the higher score wins.

    Args:
        ties: half (half a win for each player) or drop.
        unparsed: tie, as in QLoRA's published ratings, or drop.
    """
    kept, points = [], []
    for one in verdicts:
        outcome = one.outcome
        if outcome is None:
            outcome = 0.5 if unparsed == "tie" else None
            # `ties=drop unparsed=tie` drops it as a tie.
        if outcome is None or (outcome == 0.5 and ties == "drop"):
            continue
        kept.append(one)
        points.append(outcome)
    players = sorted({name for one in verdicts for name in (one.first, one.second)})
    places = {name: place for place, name in enumerate(players)}
    # The turns of a question belong to one conversation, so they are not independent.
    questions = {name: at for at, name in enumerate(dict.fromkeys(one.question for one in kept))}
    return Matches(
        players=players,
        first=np.array([places[one.first] for one in kept], dtype=np.int64),
        second=np.array([places[one.second] for one in kept], dtype=np.int64),
        points=np.array(points, dtype=np.float64),
        question=np.array([questions[one.question] for one in kept], dtype=np.int64),
        verdicts=kept,
        dropped=len(verdicts) - len(kept),
    )


SCALE = 400.0  # 400 points more are odds of 10 to 1
_AT_ONCE = 100_000_000  # bytes of indices in memory: 10,000 orders of 5,000 matches
_MANY = 20_000  # matches from which the early matches of an order may be skipped
_TRIALS = 16  # orders with which this is tested
_SAME = 1e-6  # points


@dataclass(frozen=True)
class Rating:
    player: str
    mean: float  # over the orders
    half: float  # mean ± half: the 95 % interval of that mean, which more orders shrink
    deviation: float  # standard deviation over the orders
    low: float  # 2.5th and 97.5th percentile over the orders
    high: float


def elo(
    matches: Matches,
    *,
    orders: int = 10_000,
    per_order: int | None = None,
    k: float = 32.0,
    start: float = 1000.0,
    seed: int = 0,
    say: Say = quiet,
) -> list[Rating]:
    """Rate players by Elo over random orders. Each order plays `per_order` matches from the start.

    Args:
        per_order: matches per order, drawn without replacement; None = all. The published ratings
            of Table 1 need about 500 of the 4,480 (inferred by trial; not stated in the paper).
        say: called with the progress.

    Returns:
        The ratings, best first.
    """
    length = min(per_order or len(matches.points), len(matches.points))
    ratings = _play(matches, orders, length, k, start, seed, say)
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
    matches: Matches, orders: int, length: int, k: float, start: float, seed: int, say: Say
) -> NDArray[np.float64]:
    """Return the final ratings [players, orders]. All orders advance one match at a time."""
    total, players = len(matches.points), len(matches.players)
    if not total:
        return np.full((players, orders), start)
    if length > _MANY:
        last = _remembered(matches, length, k, start, seed)
        if last <= length // 2:
            return _play_last(matches, orders, last, k, start, seed, say)
    places: type[np.unsignedinteger] = np.uint16 if total < 2**16 else np.uint32
    chunk = max(1, min(orders, _AT_ONCE // (total * np.dtype(places).itemsize)))
    generator, done = np.random.default_rng(seed), []
    for begun in range(0, orders, chunk):
        width = min(chunk, orders - begun)
        drawn = np.repeat(np.arange(total, dtype=places)[:, None], width, axis=1).ravel()
        across = np.arange(width)
        ratings = np.full(players * width, start)
        for step in range(length):
            # A partial Fisher-Yates shuffle in every order: the drawn match goes to `step`.
            other = generator.integers(step, total, size=width) * width + across
            match = drawn[other]
            drawn[other] = drawn[step * width : (step + 1) * width]
            _update(ratings, matches, match, across, k)
            say(begun * length + step * width, orders * length)
        done.append(ratings.reshape(players, width))
    return np.concatenate(done, axis=1)


def _play_last(
    matches: Matches, orders: int, last: int, k: float, start: float, seed: int, say: Say
) -> NDArray[np.float64]:
    """Return the ratings as `_play` does, from only the last matches of each order."""
    total, players = len(matches.points), len(matches.players)
    chunk = max(1, min(orders, _AT_ONCE // (last * np.dtype(np.uint32).itemsize)))
    generator, done = np.random.default_rng(seed), []
    for begun in range(0, orders, chunk):
        width = min(chunk, orders - begun)
        drawn = np.empty((last, width), dtype=np.uint32)
        for order in range(width):
            drawn[:, order] = generator.choice(total, last, replace=False)
            say((begun + order / 2) * last, orders * last)
        across = np.arange(width)
        ratings = np.full(players * width, start)
        for step in range(last):
            _update(ratings, matches, drawn[step], across, k)
            say((begun + width / 2) * last + step * width / 2, orders * last)
        done.append(ratings.reshape(players, width))
    return np.concatenate(done, axis=1)


def _update(
    ratings: NDArray[np.float64],
    matches: Matches,
    match: NDArray[Any],
    across: NDArray[np.int64],
    k: float,
) -> None:
    """Play one match in each order: `match`, `across` [orders], `ratings` [players * orders]."""
    width = len(across)
    first = matches.first[match] * width + across
    second = matches.second[match] * width + across
    ours, theirs = ratings[first], ratings[second]
    change = np.exp((theirs - ours) * (math.log(10) / SCALE))
    change += 1
    change = k * (matches.points[match] - 1 / change)
    ratings[first] = ours + change
    ratings[second] = theirs - change


def _remembered(matches: Matches, length: int, k: float, start: float, seed: int) -> int:
    """Return on how many of its last matches the ratings of an order depend.

    Each match brings ratings with different starts closer together, so the first of many matches
    have no effect. In a few full orders, the last matches alone must give the same ratings from
    `start`. Twice as many are kept, because the difference shrinks by a factor per match.
    """
    total, players = len(matches.points), len(matches.players)
    generator, across = np.random.default_rng([seed, 1]), np.arange(_TRIALS)
    drawn = np.stack([generator.permutation(total)[:length] for _ in across], axis=1)

    def played(last: int) -> NDArray[np.float64]:
        ratings = np.full(players * _TRIALS, start)
        for match in drawn[length - last :]:
            _update(ratings, matches, match, across, k)
        return ratings

    whole, last = played(length), _MANY // 16
    while 2 * last < length:
        if np.abs(played(last) - whole).max() < _SAME:
            return 2 * last
        last *= 2
    return length


# Elo after a single pass over the matches, as Anima rated its models.


Played = tuple[str, str, float]  # first, second, points of the first


def sequential_elo(
    played: Sequence[Played],
    *,
    initial: Mapping[str, float],
    k: float = 32.0,
) -> dict[str, float]:
    """Return each player's rating after the last match. `initial` names every player.

    This is one order of many; `elo` shows how much the ratings vary between orders.
    """
    ratings = dict(initial)
    for first, second, points in played:
        expected = 1 / (1 + 10 ** ((ratings[second] - ratings[first]) / SCALE))
        change = k * (points - expected)
        ratings[first] += change
        ratings[second] -= change
    return ratings
