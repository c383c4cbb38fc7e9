"""Verdicts -> how each player did against each other one, both orders together."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from anima_exp.elo.verdicts import Verdict


@dataclass
class Record:
    """Of one player against another."""

    wins: int = 0
    ties: int = 0
    losses: int = 0
    unparsed: int = 0
    questions: set[tuple[str, int]] = field(default_factory=set)

    @property
    def net(self) -> float:
        """(wins - losses) / questions, as QLoRA's Table 12: from -2 to 2 where both orders are
        judged."""
        return (self.wins - self.losses) / len(self.questions)

    @property
    def rate(self) -> float | None:
        """Wins, ties as half, as a share of the parsed verdicts."""
        parsed = self.wins + self.ties + self.losses
        return (self.wins + self.ties / 2) / parsed if parsed else None


def win_matrix(verdicts: Sequence[Verdict]) -> dict[str, dict[str, Record]]:
    """matrix[a][b]: a against b; a pair that never met has no place in it."""
    matrix: dict[str, dict[str, Record]] = {}
    for one in verdicts:
        for player, other, points in (
            (one.first, one.second, one.outcome),
            (one.second, one.first, None if one.outcome is None else 1 - one.outcome),
        ):
            record = matrix.setdefault(player, {}).setdefault(other, Record())
            record.questions.add((one.question, one.turn))
            record.wins += points == 1
            record.ties += points == 0.5
            record.losses += points == 0
            record.unparsed += points is None
    return matrix


def win_rates(matrix: dict[str, dict[str, Record]]) -> dict[str, float]:
    """Each player's share of points against all it met; none where nothing was parsed."""
    found = {}
    for player, records in matrix.items():
        points = sum(one.wins + one.ties / 2 for one in records.values())
        parsed = sum(one.wins + one.ties + one.losses for one in records.values())
        if parsed:
            found[player] = points / parsed
    return found
