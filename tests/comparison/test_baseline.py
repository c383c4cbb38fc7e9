import pytest
from support import synthetic

from anima_exp.comparison.build import build
from anima_exp.comparison.runs import load
from anima_exp.errors import ConfigError


def scores(folder, table):
    """Runs with {(rank, seed): loss}."""
    for (rank, seed), loss in table.items():
        synthetic.run(folder / f"r{rank}s{seed}", loss=loss, **{"lora.rank": rank, "seed": seed})
    return load([folder])


TABLE = {(8, 0): 1.0, (8, 1): 2.0, (64, 0): 0.7, (64, 1): 1.8, (16, 2): 1.5}


def test_differences_of_a_setting_are_paired_by_seed(tmp_path):
    found = build(scores(tmp_path, TABLE), baseline="lora.rank=8").baseline
    assert found.label == "lora.rank=8"
    sixteen, sixty_four = found.differences
    assert (sixteen.score, sixteen.pairs) == (None, 0)  # seed 2 alone has no partner
    # -0.3 and -0.2: mean -0.25, s = 0.0707, t(1) = 12.7062.
    assert sixty_four.score.mean == pytest.approx(-0.25)
    assert sixty_four.score.half == pytest.approx(12.7062 * 0.0707107 / 2**0.5, rel=1e-4)
    assert (sixty_four.pairs, sixty_four.better) == (2, None)


def test_pairs_are_equal_in_all_other_settings(tmp_path):
    synthetic.grid(tmp_path, noise=0.0)
    (one,) = build(load([tmp_path]), baseline="rank=8").baseline.differences
    assert one.label == "lora.rank=64"
    assert one.pairs == 6
    assert one.score.mean == pytest.approx(-0.1)
    assert one.better


def test_a_run_or_a_row_may_be_the_baseline(tmp_path):
    runs = scores(tmp_path, TABLE)
    for asked in ("r8s1", "rank=8"):
        found = build(runs, baseline=asked).baseline
        assert found.label == "rank=8"
        assert [(one.label, one.pairs) for one in found.differences] == [
            ("rank=64", 2),
            ("rank=16", 0),
        ]


def test_an_unknown_baseline_says_what_there_is(tmp_path):
    runs = scores(tmp_path, TABLE)
    with pytest.raises(ConfigError) as error:
        build(runs, baseline="nix")
    assert str(error.value) == (
        "baseline=nix: there is no such run. Give a run's name, a row of the table "
        "or a setting like lora.rank=8."
    )
    with pytest.raises(ConfigError) as error:
        build(runs, baseline="lora.rank=9")
    assert str(error.value) == "baseline=lora.rank=9: the runs have lora.rank = 8, 16, 64."


def test_several_differences_are_corrected_as_the_verdict_is(tmp_path):
    # -0.10, -0.09 and -0.11 at rank 64: mean -0.1, s = 0.01. t(2) at 95 % is 4.3027, and at
    # 97.5 %, for two comparisons, 6.2053.
    losses = {8: (1.0, 1.0, 1.0), 64: (0.9, 0.91, 0.89), 16: (1.0, 1.0, 1.0)}
    table = {(rank, seed): loss for rank, own in losses.items() for seed, loss in enumerate(own)}
    found = build(scores(tmp_path, table), baseline="lora.rank=8").baseline
    sixteen, sixty_four = found.differences
    assert sixty_four.score.half == pytest.approx(6.20535 * 0.01 / 3**0.5, rel=1e-4)
    assert (sixty_four.word, sixteen.word, sixteen.score.mean) == ("better", "tie", 0.0)
    assert found.description == (
        "The two runs of a pair have the seed in common. Intervals are corrected for 2 "
        "comparisons (Bonferroni), so all of them hold together in 95 % of cases."
    )
    alone = {key: loss for key, loss in table.items() if key[0] != 16}
    (one,) = build(scores(tmp_path / "two", alone), baseline="lora.rank=8").baseline.differences
    assert one.score.half == pytest.approx(4.30265 * 0.01 / 3**0.5, rel=1e-4)


def test_rounding_is_no_difference(tmp_path):
    table = {(8, 0): 0.1 + 0.2, (8, 1): 0.7, (64, 0): 0.3, (64, 1): 0.1 * 7}
    (one,) = build(scores(tmp_path, table), baseline="lora.rank=8").baseline.differences
    assert (one.score.mean, one.word) == (0.0, "tie")
