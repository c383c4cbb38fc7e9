"""Verdicts -> matches: who met whom, and what a tie or an unparsed verdict counts for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anima_exp.elo.verdicts import Verdict


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
            # `--ties drop --unparsed tie` drops it as a tie.
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
