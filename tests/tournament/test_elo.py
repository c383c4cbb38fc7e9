import itertools
from statistics import fmean, stdev

import numpy as np
import pytest
from support import games

from anima_exp.tournament import elo as ratings
from anima_exp.tournament.elo import Matches, elo, matches, sequential_elo
from anima_exp.tournament.progress import Progress
from anima_exp.tournament.reading import read
from anima_exp.tournament.verdicts import Verdict, verdicts


def verdict(question, first, second, outcome):
    return Verdict(str(question), 1, None, first, second, None, outcome, False, None)


THREE = [verdict(1, "a", "b", 1.0), verdict(2, "b", "c", 0.5), verdict(3, "c", "a", 1.0)]


def test_one_match_moves_both_by_half_of_k():
    assert sequential_elo([("a", "b", 1.0)], initial={"a": 1000, "b": 1000}) == {
        "a": 1016,
        "b": 984,
    }
    found = sequential_elo([("a", "b", 1.0)], initial={"a": 1400, "b": 1000}, k=22)
    assert found == {"a": pytest.approx(1402), "b": pytest.approx(998)}  # 10 to 1: expected


def test_the_mean_over_random_orders_is_the_mean_over_all_orders():
    played = [(one.first, one.second, one.outcome) for one in THREE]
    every = [
        sequential_elo(order, initial=dict.fromkeys("abc", 1000.0))
        for order in itertools.permutations(played)
    ]
    for rating in elo(matches(THREE), orders=20_000):
        exact = [ratings[rating.player] for ratings in every]
        assert rating.mean == pytest.approx(fmean(exact), abs=4 * rating.half / 1.96 + 1e-9)
        assert rating.deviation == pytest.approx(stdev(exact * 1000), rel=0.03)


def test_a_limited_number_is_drawn_without_replacement():
    pairs = itertools.permutations([(one.first, one.second, one.outcome) for one in THREE], 2)
    every = [sequential_elo(order, initial=dict.fromkeys("abc", 1000.0)) for order in pairs]
    possible = {round(ratings["a"], 6) for ratings in every}
    found = {
        round(rating.mean, 6)
        for seed in range(30)
        for rating in elo(matches(THREE), orders=1, per_order=2, seed=seed)
        if rating.player == "a"
    }
    assert found == possible


def test_a_seed_repeats_and_another_does_not():
    means = [[one.mean for one in elo(matches(THREE), orders=50, seed=s)] for s in (1, 1, 2)]
    assert means[0] == means[1] != means[2]


def test_ratings_keep_their_sum(tmp_path):
    played, _ = verdicts(read([games.tournament(tmp_path)]), answers={})
    assert sum(one.mean for one in elo(matches(played), orders=100)) == pytest.approx(3000)


def test_the_interval_is_of_the_mean_and_shrinks(tmp_path):
    played = matches(verdicts(read([games.tournament(tmp_path)]), answers={})[0])
    few, many = (elo(played, orders=n)[0] for n in (100, 10_000))
    assert many.half == pytest.approx(few.half / 10, rel=0.3)
    assert many.deviation == pytest.approx(few.deviation, rel=0.3)
    assert many.low < many.mean - many.deviation < many.mean + many.deviation < many.high


def test_what_ties_and_the_unparsed_count_for():
    some = [verdict(1, "a", "b", 0.5), verdict(2, "a", "b", None), verdict(3, "a", "b", 1.0)]
    assert matches(some).points.tolist() == [0.5, 0.5, 1.0]
    assert matches(some, unparsed="drop").points.tolist() == [0.5, 1.0]
    assert matches(some, ties="drop").points.tolist() == [1.0]
    assert matches(some, ties="drop").dropped == 2


def many(count, players):
    generator = np.random.default_rng(0)
    first = generator.integers(0, players, count)
    second = (first + generator.integers(1, players, count)) % players
    points = generator.choice([0.0, 0.5, 1.0], count, p=[0.2, 0.2, 0.6])
    names = [f"p{at}" for at in range(players)]
    return Matches(names, first, second, points, np.arange(count), [], 0)


def test_of_many_matches_only_the_last_are_remembered(monkeypatch):
    played = many(4000, 4)
    whole = elo(played, orders=2000)
    monkeypatch.setattr(ratings, "_MANY", 1000)
    assert ratings._remembered(played, 4000, 32.0, 1000.0, 0) <= 2000
    found = {one.player: one for one in elo(played, orders=2000)}
    for one in whole:
        assert found[one.player].mean == pytest.approx(one.mean, abs=4 * one.half / 1.96)
        assert found[one.player].deviation == pytest.approx(one.deviation, rel=0.1)


def test_a_player_of_few_matches_is_not_forgotten(monkeypatch):
    played = many(4000, 4)
    rare = Matches(
        [*played.players, "rare"],
        np.append(played.first, [4, 4]),
        np.append(played.second, [0, 1]),
        np.append(played.points, [1.0, 1.0]),
        np.append(played.question, [0, 1]),
        [],
        0,
    )
    monkeypatch.setattr(ratings, "_MANY", 1000)
    assert ratings._remembered(rare, 4002, 32.0, 1000.0, 0) == 4002
    won_both = next(one for one in elo(rare, orders=50) if one.player == "rare")
    assert won_both.low > 1020 and won_both.high < 1040  # two wins of about 16 points


def test_a_long_computation_gives_signs_of_life(monkeypatch):
    written, now = [], [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    say = Progress(written.append).stage("ratings")
    for second in range(9):
        now[0] = float(second)
        say(10 * second, 100)
    assert written == ["ratings: 20%, 8 s left", "ratings: 70%, 3 s left"]
