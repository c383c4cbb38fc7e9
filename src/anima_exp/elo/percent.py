"""Relative verdicts -> scores as per cent of a reference's, as in QLoRA's Table 6."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from anima_exp.elo.verdicts import Verdict


@dataclass(frozen=True)
class Percent:
    """All in per cent of the reference's score."""

    player: str
    reference_first: float | None  # the order in which the reference is Assistant 1
    player_first: float | None
    mean: float | None  # both orders; None where no verdict was parsed
    half: float | None  # mean ± half is the 95 % interval
    questions: int
    unparsed: int


def percents(verdicts: Sequence[Verdict], reference: str) -> list[Percent]:
    """A row for each player that met the reference, the best first."""
    met: dict[str, list[Verdict]] = {}
    for one in verdicts:
        if one.relative and reference in (one.first, one.second):
            met.setdefault(one.second if one.first == reference else one.first, []).append(one)
    found = [_percent(player, reference, some) for player, some in met.items()]
    return sorted(found, key=lambda one: -math.inf if one.mean is None else one.mean, reverse=True)


def _percent(player: str, reference: str, verdicts: Sequence[Verdict]) -> Percent:
    parsed = [one for one in verdicts if one.scores]
    orders = {
        first: _ratio([_scores(one, player) for one in parsed if one.first == first])
        for first in (player, reference)
    }
    # Each question weighs once: the mean over the orders in which its verdict was parsed.
    questions: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for one in parsed:
        questions.setdefault((one.question, one.turn), []).append(_scores(one, player))
    means = [(fmean(s for s, _ in both), fmean(r for _, r in both)) for both in questions.values()]
    mean = _ratio(means)
    return Percent(
        player=player,
        reference_first=orders[reference],
        player_first=orders[player],
        mean=mean,
        half=None if mean is None else _half(means, mean),
        questions=len(means),
        unparsed=len(verdicts) - len(parsed),
    )


def _half(means: Sequence[tuple[float, float]], mean: float) -> float | None:
    """From the mean down to: the lower end of our interval by the upper end of the reference's.

    No source states it: it is the rule that gives every printed interval of Table 6.
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
    """The player's and the reference's."""
    assert verdict.scores is not None
    first, second = verdict.scores
    return (first, second) if verdict.first == player else (second, first)
