"""Matches -> Elo ratings over many random orders, as QLoRA's Tables 1 and 7."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anima_exp.tournament.progress import Say, quiet
from anima_exp.tournament.verdicts import Verdict

# Verdicts -> matches: who met whom, and what a tie or an unparsed verdict counts for.


@dataclass(frozen=True)
class Matches:
    """Arrays of length N, one place a match, in the order of the verdicts."""

    players: list[str]
    first: NDArray[np.int64]  # places in `players`
    second: NDArray[np.int64]
    points: NDArray[np.float64]  # of the first: 1, 0.5 or 0
    question: NDArray[np.int64]  # numbered from 0
    verdicts: list[Verdict]
    dropped: int

    @property
    def questions(self) -> int:
        return int(self.question.max()) + 1 if len(self.question) else 0


def matches(verdicts: Sequence[Verdict], *, ties: str = "half", unparsed: str = "tie") -> Matches:
    """Relative verdicts are matches too: the higher score wins.

    Args:
        ties: half (half a win for each) or drop.
        unparsed: tie, which QLoRA's published ratings need, or drop.
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
    # A question's turns are judged in one talk: they are not independent of each other.
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


SCALE = 400.0  # 400 points more are 10 to 1 odds
_AT_ONCE = 100_000_000  # bytes of places held at a time: 10,000 orders of 5,000 matches
_MANY = 20_000  # matches beyond which it is worth finding out how many are remembered
_TRIALS = 16  # orders in which that is found out
_SAME = 1e-6  # points


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
    say: Say = quiet,
) -> list[Rating]:
    """Every order starts anew and plays `per_order` matches drawn without replacement.

    Args:
        per_order: all where None. The published ratings of Table 1 need about 500 of the 4,480:
            found by trying, the paper does not say.
        say: called now and then while this is computed.

    Returns:
        The best first.
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
    """Final ratings, [P, R]: P players, R orders. All orders take a step at a time together."""
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
            # A partial Fisher-Yates shuffle: what is drawn goes to `step`, in every order.
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
    """As `_play`, of the last matches of each order alone."""
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
    """One match in each order: `match` and `across` are [R], `ratings` is [P * R]."""
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
    """How many of an order's last matches its ratings depend on.

    Each match brings ratings that started apart closer together, so the first of many matches are
    forgotten. In a few whole orders the last matches alone, played from `start`, have to give the
    same ratings; twice as many of them are kept, since the difference shrinks by a factor a match.
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


# Matches in their order -> Elo after a single pass, as Anima rated its models.


Played = tuple[str, str, float]  # first, second, points of the first


def sequential_elo(
    played: Sequence[Played],
    *,
    initial: Mapping[str, float],
    k: float = 32.0,
) -> dict[str, float]:
    """The rating of each player after the last match; `initial` names every player.

    One order of many: `ratings.elo` shows how far they lie apart.
    """
    ratings = dict(initial)
    for first, second, points in played:
        expected = 1 / (1 + 10 ** ((ratings[second] - ratings[first]) / SCALE))
        change = k * (points - expected)
        ratings[first] += change
        ratings[second] -= change
    return ratings
