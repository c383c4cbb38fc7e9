import math

import pytest
from scipy.optimize import minimize
from support import games

from anima_exp.errors import DataError
from anima_exp.tournament.bias import advantages
from anima_exp.tournament.bradley_terry import bradley_terry, conclusion
from anima_exp.tournament.elo import matches
from anima_exp.tournament.reading import read
from anima_exp.tournament.verdicts import Verdict, verdicts


def verdict(question, first, second, outcome, lengths=None):
    return Verdict(str(question), 1, None, first, second, None, outcome, False, lengths)


def played(folder, **options):
    return matches(verdicts(read([games.tournament(folder, **options)]), answers={})[0])


def test_three_to_one_is_so_many_points():
    some = [verdict(q, "a", "b", 0.0 if q == 0 else 1.0) for q in range(4)]
    first, second = bradley_terry(matches(some), samples=10).strengths
    assert first.rating - second.rating == pytest.approx(400 * math.log10(3))
    assert first.rating + second.rating == pytest.approx(2000)


def test_it_is_the_maximum_of_the_likelihood(tmp_path):
    found = played(tmp_path, gap=0.6)

    def loss(theta):
        lead = theta[found.first] - theta[found.second]
        chance = 1 / (1 + 2.718281828459045**-lead)
        points = found.points
        return -sum(p * math.log(c) + (1 - p) * math.log(1 - c)
                    for p, c in zip(points, chance, strict=True))  # fmt: skip

    best = minimize(loss, [0.0] * 3, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10})
    exact = {
        name: 1000 + 400 / math.log(10) * (value - best.x.mean())
        for name, value in zip(found.players, best.x, strict=True)
    }
    for one in bradley_terry(found, samples=10).strengths:
        assert one.rating == pytest.approx(exact[one.player], abs=0.01)
        assert one.low <= one.high


def test_intervals_hold_the_truth_as_often_as_they_say(tmp_path):
    held = 0
    for seed in range(40):
        found = bradley_terry(played(tmp_path / str(seed), seed=seed, gap=0.5), samples=300)
        truth = 1000 + 0.5 * 400 / math.log(10)
        one = next(one for one in found.strengths if one.player == "ada")
        held += one.low <= truth <= one.high
    assert 33 <= held <= 40  # 95 % of 40 is 38


def test_more_verdicts_on_the_same_questions_make_no_one_surer():
    """Turns and repeats of one question stand and fall together; matches drawn alone would not."""
    few = [verdict(q, "a", "b", float(q % 3 > 0)) for q in range(30)]
    many = [one for one in few for _ in range(10)]
    spans = [
        (found.strengths[0].high - found.strengths[0].low)
        for found in (bradley_terry(matches(some)) for some in (few, many))
    ]
    assert spans[0] == pytest.approx(spans[1])


def test_who_won_everything_gets_a_finite_strength_and_it_is_said():
    some = [verdict(q, "a", "b", 1.0) for q in range(9)]
    found = bradley_terry(matches(some), samples=10)
    lead = found.strengths[0].rating - found.strengths[1].rating
    assert found.eased and found.eased_samples == 10
    assert lead == pytest.approx(400 * math.log10(9.5 / 0.5))


def test_players_that_never_met_cannot_be_rated_together():
    some = [verdict(1, "a", "b", 1.0), verdict(1, "c", "d", 1.0)]
    with pytest.raises(DataError, match=r"a, b never met c, d, not even through other players"):
        bradley_terry(matches(some))


@pytest.mark.parametrize(
    "gap, told",
    [(2.0, "ada is better than bob: by "), (0.05, "but not beyond chance (97.5 %")],
)
def test_the_conclusion_tells_whether_chance_could_do_it(tmp_path, gap, told):
    said = conclusion(bradley_terry(played(tmp_path, gap=gap, questions=60)))
    assert told in said
    assert said.endswith(", corrected for 2 comparisons).")


def test_the_first_positions_worth_is_found_among_strengths(tmp_path):
    assert abs(advantages(played(tmp_path))["first"].value) < 100
    rows = [
        verdict(q, a, b, float(hash_(q, a, b) < 0.75))
        for q in range(200)
        for a, b in (("a", "b"), ("b", "a"))
    ]
    first = advantages(matches(rows))["first"]
    assert first.value == pytest.approx(400 * math.log10(3), abs=first.half)
    assert first.chance == pytest.approx(0.75, abs=0.06)


def test_length_is_told_from_merit():
    """The better one writes longer answers, and which of them is longer changes nothing."""
    rows = [
        verdict(q, a, b, float((hash_(q, a, b) < 0.8) == (a == "a")),
                tuple(int(500 * (1 + 2 * (x == "a")) * (1 + hash_(q, x, a))) for x in (a, b)))
        for q in range(200)
        for a, b in (("a", "b"), ("b", "a"))
    ]  # fmt: skip
    found = advantages(matches(rows))["twice_as_long"]
    assert abs(found.value) < found.half * 1.5


def hash_(*parts):
    """A number between 0 and 1 that depends on the parts alone."""
    import hashlib

    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:8], 16) / 2**32
