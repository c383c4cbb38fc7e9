"""Compute scores in per cent of a reference's scores from relative verdicts (QLoRA, Table 6)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, pstdev

from anima_exp.tournament.verdicts import Verdict


@dataclass(frozen=True)
class RelativeScore:
    """A player's scores, in per cent of the reference's score."""

    player: str
    reference_first: float | None  # with the reference shown first
    player_first: float | None
    mean: float | None  # over both orders; None if no verdict was parsed
    half: float | None  # mean ± half is the 95 % interval
    questions: int
    unparsed: int


def percents(verdicts: Sequence[Verdict], reference: str) -> list[RelativeScore]:
    """Return the score of each player that met the reference, best first."""
    met: dict[str, list[Verdict]] = {}
    for one in verdicts:
        if one.relative and reference in (one.first, one.second):
            met.setdefault(one.second if one.first == reference else one.first, []).append(one)
    found = [_percent(player, reference, some) for player, some in met.items()]
    return sorted(found, key=lambda one: -math.inf if one.mean is None else one.mean, reverse=True)


def _percent(player: str, reference: str, verdicts: Sequence[Verdict]) -> RelativeScore:
    parsed = [one for one in verdicts if one.scores]
    orders = {
        first: _ratio([_scores(one, player) for one in parsed if one.first == first])
        for first in (player, reference)
    }
    # Each question counts once, as the mean over the orders whose verdict was parsed.
    questions: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for one in parsed:
        questions.setdefault((one.question, one.turn), []).append(_scores(one, player))
    means = [(fmean(s for s, _ in both), fmean(r for _, r in both)) for both in questions.values()]
    mean = _ratio(means)
    return RelativeScore(
        player=player,
        reference_first=orders[reference],
        player_first=orders[player],
        mean=mean,
        half=None if mean is None else _half(means, mean),
        questions=len(means),
        unparsed=len(verdicts) - len(parsed),
    )


def _half(means: Sequence[tuple[float, float]], mean: float) -> float | None:
    """Return the half-width: mean - (lower end of ours / upper end of the reference's interval).

    No source states this rule. It reproduces every printed interval of Table 6.
    """
    if len(means) < 2:
        return None
    (ours, our_half), (reference, its_half) = (
        (fmean(scores), 1.96 * pstdev(scores) / math.sqrt(len(scores)))
        for scores in ([ours for ours, _ in means], [its for _, its in means])
    )
    return mean - 100 * (ours - our_half) / (reference + its_half)


def _ratio(pairs: Sequence[tuple[float, float]]) -> float | None:
    below = math.fsum(reference for _, reference in pairs)
    return 100 * math.fsum(ours for ours, _ in pairs) / below if below > 0 else None


def _scores(verdict: Verdict, player: str) -> tuple[float, float]:
    """Return the player's and the reference's score."""
    assert verdict.scores is not None
    first, second = verdict.scores
    return (first, second) if verdict.first == player else (second, first)


@dataclass
class HeadToHead:
    """Results of one player against another, over both orders."""

    wins: int = 0
    ties: int = 0
    losses: int = 0
    unparsed: int = 0
    questions: set[tuple[str, int]] = field(default_factory=set)

    @property
    def net(self) -> float:
        """(wins - losses) / questions, as in QLoRA's Table 12: from -2 to 2 with both orders."""
        return (self.wins - self.losses) / len(self.questions)

    @property
    def rate(self) -> float | None:
        """Wins, with ties as half, as a fraction of the parsed verdicts."""
        parsed = self.wins + self.ties + self.losses
        return (self.wins + self.ties / 2) / parsed if parsed else None


def win_matrix(verdicts: Sequence[Verdict]) -> dict[str, dict[str, HeadToHead]]:
    """Return the results matrix[a][b] of a against b, without pairs that never met."""
    matrix: dict[str, dict[str, HeadToHead]] = {}
    for one in verdicts:
        for player, other, points in (
            (one.first, one.second, one.outcome),
            (one.second, one.first, None if one.outcome is None else 1 - one.outcome),
        ):
            record = matrix.setdefault(player, {}).setdefault(other, HeadToHead())
            record.questions.add((one.question, one.turn))
            record.wins += points == 1
            record.ties += points == 0.5
            record.losses += points == 0
            record.unparsed += points is None
    return matrix


def win_rates(matrix: dict[str, dict[str, HeadToHead]]) -> dict[str, float]:
    """Return each player's fraction of points against all opponents, if any verdict was parsed."""
    found = {}
    for player, records in matrix.items():
        points = sum(one.wins + one.ties / 2 for one in records.values())
        parsed = sum(one.wins + one.ties + one.losses for one in records.values())
        if parsed:
            found[player] = points / parsed
    return found


@dataclass(frozen=True)
class Category:
    name: str
    questions: int
    win_rates: dict[str, float]  # fractions of points, with ties as half
    percents: dict[str, float]  # of the reference's score


def categories(
    rated: Sequence[Verdict], relative: Sequence[Verdict], reference: str | None
) -> list[Category]:
    """Return the results by category, in the order of the verdicts; [] without categories."""
    names = dict.fromkeys(one.category for one in [*rated, *relative] if one.category)
    found = []
    for name in names:
        some = [one for one in rated if one.category == name]
        scored = [one for one in relative if one.category == name]
        of_reference = percents(scored, reference) if reference else []
        found.append(
            Category(
                name=name,
                questions=len({one.question for one in [*some, *scored]}),
                win_rates=win_rates(win_matrix(some)),
                percents={one.player: one.mean for one in of_reference if one.mean is not None},
            )
        )
    return found
