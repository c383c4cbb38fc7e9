"""Measure how much the judge is biased by the position and the length of answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anima_exp.metrics.intervals import wilson
from anima_exp.tournament.bradley_terry import POINTS
from anima_exp.tournament.elo import Matches
from anima_exp.tournament.verdicts import Verdict


@dataclass(frozen=True)
class Share:
    """A proportion, `count` of `total`, with Wilson's 95 % interval."""

    count: int
    total: int

    @property
    def share(self) -> float:
        return self.count / self.total

    @property
    def ends(self) -> tuple[float, float]:
        return wilson(self.count, self.total)


@dataclass(frozen=True)
class Position:
    first: int  # verdicts in which the answer shown first won
    tie: int
    second: int
    unparsed: int

    @property
    def total(self) -> int:
        return self.first + self.tie + self.second + self.unparsed

    @property
    def decided(self) -> Share | None:
        """The proportion of verdicts with a winner that the answer shown first won."""
        total = self.first + self.second
        return Share(self.first, total) if total else None


@dataclass(frozen=True)
class Swapped:
    """Counts of pairs of answers that were judged in both orders."""

    same: int  # the same player won both times, or both verdicts are ties
    weakened: int  # a win in one order, a tie in the other
    flipped: int  # another player won: the judge followed the position
    to_first: int  # flips in which the answer shown first won both times

    @property
    def total(self) -> int:
        return self.same + self.weakened + self.flipped


@dataclass(frozen=True)
class Length:
    longer: Share | None  # wins of the longer answer among the verdicts with a winner
    known: int  # verdicts whose answers have known lengths


def position(verdicts: Sequence[Verdict]) -> Position:
    outcomes = [one.outcome for one in verdicts]
    return Position(*(outcomes.count(value) for value in (1.0, 0.5, 0.0, None)))


def swapped(verdicts: Sequence[Verdict]) -> Swapped:
    parsed = {
        (one.first, one.second, one.question, one.turn, one.relative): one.outcome
        for one in verdicts
        if one.outcome is not None
    }
    same = weakened = flipped = to_first = 0
    for (first, second, *rest), points in parsed.items():
        other = parsed.get((second, first, *rest))  # type: ignore[arg-type]
        if other is None or first > second:  # count each pair of orders once
            continue
        if points == 1 - other:
            same += 1
        elif 0.5 in (points, other):
            weakened += 1
        else:
            flipped += 1
            to_first += points == 1
    return Swapped(same, weakened, flipped, to_first)


def length(verdicts: Sequence[Verdict]) -> Length:
    known = [one for one in verdicts if one.lengths]
    decided = [
        (one.outcome == 1) == (one.lengths[0] > one.lengths[1])
        for one in known
        if one.lengths and one.lengths[0] != one.lengths[1] and one.outcome in (0.0, 1.0)
    ]
    return Length(Share(sum(decided), len(decided)) if decided else None, len(known))


# The advantage of being shown first, and of being twice as long, between equal players.


Array = NDArray[np.float64]

_QUESTIONS = 10  # with fewer questions, errors clustered by question are not reliable


@dataclass(frozen=True)
class BiasEstimate:
    """An advantage in Elo points. value ± half is the 95 % interval."""

    value: float
    half: float

    @property
    def chance(self) -> float:
        """The probability of winning against an equal player with this advantage."""
        return 1 / (1 + math.exp(-self.value / POINTS))


def advantages(matches: Matches) -> dict[str, BiasEstimate]:
    """Estimate the advantage `first`, and `twice_as_long` from the matches with known lengths.

    The model is Bradley-Terry with two more terms: strength_i - strength_j + a + b log2(length_i /
    length_j). Better models write longer answers, so only a fit together with their strengths
    separates length from quality. Standard errors are clustered by question. The result is empty
    if the data do not determine the terms.
    """
    known = [one.lengths for one in matches.verdicts if one.lengths and min(one.lengths) > 0]
    if not known:
        return _fit(matches, None)
    if len(known) < len(matches.verdicts):
        has = np.array([bool(one.lengths and min(one.lengths) > 0) for one in matches.verdicts])
        of_some = Matches(
            matches.players,
            matches.first[has],
            matches.second[has],
            matches.points[has],
            matches.question[has],
            [one for one, there in zip(matches.verdicts, has, strict=True) if there],
            0,
        )
        found = _fit(of_some, _logarithms(known))
        return {**_fit(matches, None), **{k: v for k, v in found.items() if k != "first"}}
    return _fit(matches, _logarithms(known))


def _logarithms(lengths: list[tuple[int, int]]) -> Array:
    return np.array([math.log2(one / other) for one, other in lengths])


def _fit(matches: Matches, longer: Array | None) -> dict[str, BiasEstimate]:
    total, players = len(matches.points), len(matches.players)
    terms = [np.ones(total)] if longer is None else [np.ones(total), longer]
    names = ["first", "twice_as_long"][: len(terms)]
    if len(np.unique(matches.question)) < _QUESTIONS or total <= players + len(terms):
        return {}
    design = np.zeros((total, players + len(terms)))
    every = np.arange(total)
    design[every, matches.first] += 1
    design[every, matches.second] -= 1
    design[:, players:] = np.stack(terms, axis=1)
    beta = np.zeros(design.shape[1])
    # Strengths are determined up to a constant, and infinite for players that won or lost every
    # match. The ridge fixes both and is too weak to change anything else.
    ridge = 1e-3 * np.eye(len(beta))
    ridge[players:, players:] = 0
    for _ in range(100):
        chance = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (matches.points - chance) - ridge @ beta
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design + ridge
        if np.linalg.cond(curvature) > 1e12:
            return {}
        step = np.linalg.solve(curvature, gradient)
        beta = beta + step * min(1.0, 2 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    else:
        return {}  # the data are separable, so there is no finite estimate
    chance = 1 / (1 + np.exp(-design @ beta))
    scores = np.zeros((matches.questions, len(beta)))
    np.add.at(scores, matches.question, design * (matches.points - chance)[:, None])
    inverse = np.linalg.inv(curvature)
    # Rounding can make a variance slightly negative.
    errors = np.sqrt(np.maximum(np.diag(inverse @ (scores.T @ scores) @ inverse), 0))
    return {
        name: BiasEstimate(float(POINTS * beta[at]), float(1.96 * POINTS * errors[at]))
        for at, name in enumerate(names, start=players)
    }
