"""Verdicts by category of question -> what each player reached in each."""

from collections.abc import Sequence
from dataclasses import dataclass

from anima_exp.elo.percent import percents
from anima_exp.elo.verdicts import Verdict
from anima_exp.elo.win_matrix import win_matrix, win_rates


@dataclass(frozen=True)
class Category:
    name: str
    questions: int
    win_rates: dict[str, float]  # shares of points, ties as half
    percents: dict[str, float]  # of the reference's score


def categories(
    rated: Sequence[Verdict], relative: Sequence[Verdict], reference: str | None
) -> list[Category]:
    """In the order in which they come; empty where no question has one."""
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
