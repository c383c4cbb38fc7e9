import pytest

from anima_exp.tournament.bias import Share, length, position, swapped
from anima_exp.tournament.relative_scores import win_matrix, win_rates
from anima_exp.tournament.verdicts import Verdict


def verdict(question, first, second, outcome, lengths=None):
    return Verdict(str(question), 1, None, first, second, None, outcome, False, lengths)


BOTH = [
    verdict(1, "a", "b", 1.0), verdict(1, "b", "a", 0.0),  # a twice
    verdict(2, "a", "b", 1.0), verdict(2, "b", "a", 1.0),  # the first position twice
    verdict(3, "a", "b", 0.0), verdict(3, "b", "a", 0.0),  # the second position twice
    verdict(4, "a", "b", 1.0), verdict(4, "b", "a", 0.5),
    verdict(5, "a", "b", 0.5), verdict(5, "b", "a", 0.5),
    verdict(6, "a", "b", None), verdict(6, "b", "a", 1.0),
    verdict(7, "a", "b", 1.0),
]  # fmt: skip


def test_what_becomes_of_a_verdict_when_the_order_is_swapped():
    found = swapped(BOTH)
    assert (found.same, found.weakened, found.flipped, found.to_first) == (2, 1, 2, 1)
    assert found.total == 5  # of question 6 one was not parsed, of 7 one is not there


def test_how_often_the_first_position_wins():
    found = position(BOTH)
    assert (found.first, found.tie, found.second, found.unparsed) == (6, 3, 3, 1)
    assert found.decided == Share(6, 9)


def test_the_longer_answer():
    some = [
        verdict(1, "a", "b", 1.0, (20, 10)),
        verdict(2, "a", "b", 0.0, (20, 10)),
        verdict(3, "a", "b", 0.0, (10, 20)),
        verdict(4, "a", "b", 1.0, (10, 10)),
        verdict(5, "a", "b", 0.5, (10, 20)),
        verdict(6, "a", "b", 1.0),
    ]
    found = length(some)
    assert (found.longer, found.known) == (Share(2, 3), 5)


def test_the_matrix_is_wins_less_losses_by_question():
    matrix = win_matrix(BOTH)
    record = matrix["a"]["b"]
    # a's points over all verdicts: 1 1 | 1 0 | 0 1 | 1 .5 | .5 .5 | - 0 | 1
    assert (record.wins, record.ties, record.losses, record.unparsed) == (6, 3, 3, 1)
    assert record.net == pytest.approx((6 - 3) / 7)
    assert matrix["b"]["a"].net == -record.net
    assert win_rates(matrix)["a"] == pytest.approx(7.5 / 12)
