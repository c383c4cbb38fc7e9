"""A judge's text -> its verdict, by the published rule and no other.

The rules are those of QLoRA's eval_gpt_review.py; what they cannot read is kept as unparsed. A
rule that guessed would turn a judge's reasoning into scores that it never gave.
"""

import math

from anima_exp.judge.config import Kind

Score = list[float] | int

UNPARSED: dict[Kind, Score] = {Kind.relative: [-1, -1], Kind.threeclass: -1}


def parse(text: str, kind: Kind) -> Score:
    """The score, or UNPARSED[kind]."""
    return _relative(text) if kind is Kind.relative else _threeclass(text)


def parsed(score: Score) -> bool:
    return score not in ([-1, -1], -1)


def _relative(text: str) -> Score:
    """The first line holds two numbers and nothing else; a comma counts as a space."""
    words = text.split("\n")[0].replace(",", " ").split(" ")
    try:
        scores = [float(word) for word in words]
    except ValueError:
        return [-1, -1]
    # float() also reads nan, inf and the mark of an unparsed verdict, none of which is a score.
    whole = len(scores) == 2 and all(math.isfinite(score) and score >= 0 for score in scores)
    return scores if whole else [-1, -1]


def _threeclass(text: str) -> Score:
    """The last line that is not empty is 1, 2, or 3 for a tie."""
    try:
        choice = int(text.strip().split("\n")[-1].strip())
    except ValueError:
        return -1
    return choice if choice in (1, 2, 3) else -1
