"""Verdicts -> how far the judge goes by the position of an answer, and by its length."""

from collections.abc import Sequence
from dataclasses import dataclass

from anima_exp.elo.verdicts import Verdict
from anima_exp.wilson import wilson


@dataclass(frozen=True)
class Share:
    """`count` of `total`, with Wilson's 95 % interval."""

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
    first: int  # verdicts that the answer shown first won
    tie: int
    second: int
    unparsed: int

    @property
    def total(self) -> int:
        return self.first + self.tie + self.second + self.unparsed

    @property
    def decided(self) -> Share | None:
        """How often the first won, of the verdicts that name a winner."""
        total = self.first + self.second
        return Share(self.first, total) if total else None


@dataclass(frozen=True)
class Swapped:
    """Pairs of answers judged in both orders, by what became of the verdict."""

    same: int  # the same player won both, or both are ties
    weakened: int  # a win in one order, a tie in the other
    flipped: int  # another player won: the judge went by the position
    to_first: int  # of those, the first position won both times

    @property
    def total(self) -> int:
        return self.same + self.weakened + self.flipped


@dataclass(frozen=True)
class Length:
    longer: Share | None  # wins of the longer answer, of the verdicts that name a winner
    known: int  # verdicts with both lengths


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
        if other is None or first > second:  # each pair of orders once
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
