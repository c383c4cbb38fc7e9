"""Fit Bradley-Terry ratings by maximum likelihood, with bootstrap intervals over questions."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anima_exp.errors import DataError
from anima_exp.tournament.elo import SCALE, Matches
from anima_exp.tournament.progress import Say, quiet

Array = NDArray[np.float64]

POINTS = SCALE / math.log(10)  # Elo points of a log-strength of 1
_STEPS, _ENOUGH = 100, 1e-9


@dataclass(frozen=True)
class Strength:
    """A player's rating on Elo's scale: 400 points more are odds of 10 to 1."""

    player: str
    rating: float  # the mean of all players is `start`
    low: float  # 95 % interval from the bootstrap over questions
    high: float


@dataclass(frozen=True)
class BradleyTerry:
    strengths: list[Strength]  # the best first
    lead: tuple[float, float, float] | None  # of the first over the second, with its interval
    level: float  # of the lead's interval, corrected for choosing the best of many
    samples: int  # of the bootstrap
    eased: bool  # a player won or lost every match: half a win was added per direction and pair
    eased_samples: int  # bootstrap samples in which that happened


def bradley_terry(
    matches: Matches,
    *,
    start: float = 1000.0,
    samples: int = 1000,
    seed: int = 0,
    say: Say = quiet,
) -> BradleyTerry:
    """Fit ratings with P(i beats j) = 1 / (1 + 10 ** ((rating j - rating i) / 400)).

    A tie is half a win for each player. A bootstrap sample draws questions, not matches, because
    the verdicts on one question are about the same answers. So the intervals show how far the
    ranking holds for other questions of this kind, which random orders of the same matches cannot.

    Args:
        start: the mean rating of all players.

    Raises:
        DataError: if two groups of players never met, not even through others.
    """
    players = len(matches.players)
    wins = _wins(matches, np.ones(matches.questions))
    _connected(wins, matches.players)
    generator = np.random.default_rng(seed)
    chances = np.full(matches.questions, 1 / matches.questions)
    sampled = np.empty((samples, players, players))
    for number in range(samples):
        times = generator.multinomial(matches.questions, chances)
        sampled[number] = _wins(matches, times.astype(np.float64))
        say(number, samples)
    whole, eased = _add_half_wins(wins[None])
    sampled, eased_samples = _add_half_wins(sampled)
    best = POINTS * _fit(whole)[0]
    others = POINTS * _fit(sampled)
    low, high = np.quantile(others, [0.025, 0.975], axis=0)
    ranked = np.argsort(-best, kind="stable")
    level = 1 - 0.05 / max(players - 1, 1)
    lead = None
    if players > 1:
        gaps = others[:, ranked[0]] - others[:, ranked[1]]
        ends = np.quantile(gaps, [(1 - level) / 2, (1 + level) / 2])
        lead = (float(best[ranked[0]] - best[ranked[1]]), float(ends[0]), float(ends[1]))
    return BradleyTerry(
        strengths=[
            Strength(
                matches.players[at],
                start + float(best[at]),
                start + float(low[at]),
                start + float(high[at]),
            )
            for at in ranked
        ],
        lead=lead,
        level=level,
        samples=samples,
        eased=bool(eased),
        eased_samples=eased_samples,
    )


def _wins(matches: Matches, times: Array) -> Array:
    """Return the wins [P, P] of i over j, ties as half, with each question weighted by `times`.

    A table by question, [Q, P, P], would take 4 GB for 200,000 questions and 50 players.
    """
    players, weights = len(matches.players), times[matches.question]
    won = np.bincount(
        matches.first * players + matches.second, weights * matches.points, players**2
    )
    lost = np.bincount(
        matches.second * players + matches.first, weights * (1 - matches.points), players**2
    )
    return np.asarray((won + lost).reshape(players, players))


def _connected(wins: Array, players: list[str]) -> None:
    met = (wins + wins.T) > 0
    reached = _transitive_closure(met[None])[0]
    if not reached.all():
        group = [name for name, there in zip(players, reached[0], strict=True) if there]
        rest = [name for name in players if name not in group]
        raise DataError(
            f"{', '.join(group)} never met {', '.join(rest)}, not even through other players, so "
            "their ratings cannot be compared. Rate the groups separately, or judge a pair that "
            "connects them."
        )


def _add_half_wins(wins: Array) -> tuple[Array, int]:
    """Return wins [B, P, P] whose likelihood has a finite maximum, and how many were changed.

    The maximum is finite only if a chain of wins leads from every player to every other.
    """
    lost = np.asarray(~_transitive_closure(wins > 0).all(axis=(1, 2)))
    met = wins + wins.transpose(0, 2, 1)
    # Pairs that met in the full data but not in a sample get half a win each way, too.
    ever = met.sum(axis=0, keepdims=True) > 0
    return np.where(lost[:, None, None], wins + 0.5 * ever, wins), int(lost.sum())


def _transitive_closure(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether a chain of edges leads from i to j, [B, P, P]."""
    players = edges.shape[1]
    reached = edges | np.eye(players, dtype=bool)
    for _ in range(max(1, math.ceil(math.log2(max(players, 2))))):
        # Matrix products of floats are fast, those of booleans slow.
        counted = reached.astype(np.float32)
        reached = np.asarray(counted @ counted > 0)
    return reached


def _fit(wins: Array) -> Array:
    """Return log-strengths [B, P] with mean 0, by Newton's method on the log-likelihood."""
    samples, players, _ = wins.shape
    played = wins + wins.transpose(0, 2, 1)
    theta = np.zeros((samples, players))
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(theta[:, None, :] - theta[:, :, None]))  # of i against j
        gradient = (wins - played * chance).sum(axis=2)
        weight = played * chance * (1 - chance)
        hessian = -weight
        diagonal = np.arange(players)
        hessian[:, diagonal, diagonal] += weight.sum(axis=2)
        # Strengths are determined up to a constant. This fixes their mean and no difference.
        step = np.linalg.solve(hessian + 1 / players, gradient[:, :, None])[:, :, 0]
        # A step of more than 2 (a factor of 7 in odds) may overshoot.
        size = np.abs(step).max(axis=1, keepdims=True)
        theta += step * np.minimum(1, 2 / np.maximum(size, 1e-12))
        if size.max() < _ENOUGH:
            break
    return np.asarray(theta - theta.mean(axis=1, keepdims=True))


def conclusion(result: BradleyTerry) -> str:
    """Return one sentence: does the best player differ from the second beyond chance?

    The bootstrap interval of their difference is corrected for choosing the best of many.
    """
    if result.lead is None or len(result.strengths) < 2:
        return "There is no other player to compare with."
    first, second = (one.player for one in result.strengths[:2])
    lead, low, high = result.lead
    interval = f"{100 * result.level:.3g} % interval {low:+.0f} to {high:+.0f}"
    others = len(result.strengths) - 1
    if others > 1:
        interval += f", corrected for {others} comparisons"
    if low > 0:
        return f"{first} is better than {second}: by {lead:.0f} points ({interval})."
    return f"{first} is ahead of {second} by {lead:.0f} points, but not beyond chance ({interval})."
