"""Matches in their order -> Elo after a single pass, as Anima rated its models."""

from collections.abc import Mapping, Sequence

from anima_exp.elo.ratings import SCALE

Played = tuple[str, str, float]  # first, second, points of the first


def one_pass(
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
