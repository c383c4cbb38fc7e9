"""Table 6's columns, on numbers that can be done by hand."""

import math

import pytest

from anima_exp.tournament.relative_scores import percents
from anima_exp.tournament.verdicts import Verdict


def verdict(question, first, second, scores):
    return Verdict(str(question), 1, None, first, second, scores, None, True, None)


def test_both_orders_and_the_mean_of_questions():
    one, other = percents(
        [
            verdict(1, "chat", "ada", (8.0, 6.0)),
            verdict(2, "chat", "ada", (8.0, 2.0)),
            verdict(1, "ada", "chat", (8.0, 4.0)),
            verdict(2, "ada", "chat", (4.0, 4.0)),
            verdict(1, "chat", "bob", (8.0, 8.0)),
        ],
        "chat",
    )
    assert (one.player, other.player) == ("bob", "ada")
    assert other.reference_first == pytest.approx(100 * 8 / 16)
    assert other.player_first == pytest.approx(100 * 12 / 8)
    assert other.mean == pytest.approx(100 * (7 + 3) / (6 + 6))  # not the mean of both columns
    low = 5 - 1.96 * 2 / math.sqrt(2)  # the reference's two means are alike: no spread
    assert other.half == pytest.approx(other.mean - 100 * low / 6)
    assert (one.half, one.player_first) == (None, None)


def test_an_unparsed_order_leaves_the_other():
    (one,) = percents(
        [
            verdict(1, "chat", "ada", None),
            verdict(1, "ada", "chat", (5.0, 10.0)),
            verdict(2, "ada", "chat", None),
        ],
        "chat",
    )
    assert (one.mean, one.questions, one.unparsed) == (50.0, 1, 2)
