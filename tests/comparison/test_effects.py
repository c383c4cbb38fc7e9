from pathlib import Path

import pytest

from anima_exp.comparison.cells import Cell
from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.effects import main_effects
from anima_exp.comparison.runs import Run, State

LOSS = Metric("heldout_loss", "minimize")
T1 = 12.7062  # Student's t at 97.5 % with 1 degree of freedom


def cell(settings, *scores, seeds=None):
    runs = [
        Run(Path(), f"{settings}{seed}", State.done, {**settings, "seed": seed},
            {"heldout_loss": score}, {}, None, None)
        for seed, score in zip(seeds or range(len(scores)), scores, strict=True)
    ]  # fmt: skip
    return Cell(str(settings), settings, runs)


def effects(cells, *keys):
    found = main_effects(cells, keys, LOSS)
    return {effect.key: effect for effect in found.effects}, found


def square(*scores):
    """Settings a and b, two values each: scores of (0, 0), (0, 1), (1, 0), (1, 1)."""
    return [cell({"a": i // 2, "b": i % 2}, score) for i, score in enumerate(scores)]


def test_eta_squared_of_a_balanced_grid_by_hand():
    # Mean 2.5. a: means 1.5 and 3.5, 2 * (1 + 1) = 4. b: 2 and 3, 4 * 0.25 = 1. Total 5.
    by_key, found = effects(square(1.0, 2.0, 3.0, 4.0), "a", "b")
    assert by_key["a"].share == pytest.approx(0.8)
    assert by_key["b"].share == pytest.approx(0.2)
    assert found.residual == pytest.approx(0.0)
    assert found.balanced
    assert not found.saturated
    assert [effect.key for effect in found.effects] == ["a", "b"]


def test_an_interaction_is_left_to_the_residual():
    # Only (1, 1) differs: a and b explain a third each, as much as their interaction.
    by_key, found = effects(square(0.0, 0.0, 0.0, 4.0), "a", "b")
    assert by_key["a"].share == pytest.approx(1 / 3)
    assert by_key["b"].share == pytest.approx(1 / 3)
    assert found.residual == pytest.approx(1 / 3)


def test_level_means_and_their_interval_by_hand():
    # Residuals of (0, 0, 0, 4) are ±1 on one degree of freedom; a level's mean is of two runs.
    by_key, _ = effects(square(0.0, 0.0, 0.0, 4.0), "a", "b")
    zero, one = by_key["a"].levels
    assert (zero.value, zero.score.mean, zero.score.n) == (0, pytest.approx(0.0), 2)
    assert one.score.mean == pytest.approx(2.0)
    assert by_key["a"].spread == pytest.approx(2.0)
    assert zero.score.half == pytest.approx(T1 * 2 / 2**0.5, rel=1e-4)


def test_the_seed_is_an_effect_where_there_are_several():
    cells = [cell({"a": 0}, 1.0, 2.0), cell({"a": 1}, 3.0, 4.0)]
    by_key, _ = effects(cells, "a")
    assert by_key["a"].share == pytest.approx(0.8)
    assert by_key["seed"].share == pytest.approx(0.2)
    assert "seed" not in effects([cell({"a": 0}, 1.0), cell({"a": 1}, 3.0)], "a")[0]


def test_a_hole_in_the_grid_does_not_bend_a_mean():
    # Truth: a adds 2, b adds 1. Without (1, 1) the plain mean of b=0 would be 2, not 1.
    cells = square(0.0, 1.0, 2.0, 3.0)[:3]
    by_key, found = effects(cells, "a", "b")
    assert [level.score.mean for level in by_key["b"].levels] == pytest.approx([1.0, 2.0])
    assert not found.balanced
    assert found.saturated
    # Total 2, all explained. Left without a: ±1 at b=0, so 2. Left without b: ±0.5 at a=0, so 0.5.
    assert by_key["a"].share == pytest.approx(1.0)
    assert by_key["b"].share == pytest.approx(0.25)


def test_settings_that_change_together_are_one_effect():
    cells = [cell({"rank": 8, "alpha": 4}, 1.0), cell({"rank": 64, "alpha": 32}, 2.0)]
    by_key, _ = effects(cells, "rank", "alpha")
    assert list(by_key) == ["rank"]
    assert by_key["rank"].together == ("alpha",)


def test_a_value_for_each_run_is_not_a_grid():
    cells = [cell({"rate": i / 100, "rank": i % 2}, float(i)) for i in range(20)]
    by_key, found = effects(cells, "rate", "rank")
    assert found.skipped == ("rate",)
    assert by_key == {}
    assert found.unstated == (
        "Effects cannot be estimated: nearly every run has its own rate, so the effects of the "
        "other settings cannot be separated from it."
    )
    repeated = [cell({"rank": i}, float(i), i + 0.1) for i in range(6)]
    assert effects(repeated, "rank")[1].skipped == ()


def test_equal_scores_have_no_variance_to_share():
    by_key, found = effects(square(1.0, 1.0, 1.0, 1.0), "a", "b")
    assert by_key["a"].share == 0.0
    assert (found.residual, found.overlap, found.balanced) == (0.0, 0.0, True)


def test_what_two_settings_could_both_have_done_is_neithers_share():
    # a and b go together in 4 of 6 runs; the score follows them both.
    pairs = [(0, 0), (0, 0), (1, 1), (1, 1), (0, 1), (1, 0)]
    cells = [cell({"a": a, "b": b, "c": i}, float(a + b)) for i, (a, b) in enumerate(pairs)]
    by_key, found = effects(cells, "a", "b")
    # Total 4. Without a, b leaves 4/3 of it: groups 0, 0, 1 and 2, 2, 1 vary by 2/3 each.
    assert by_key["a"].share == pytest.approx(1 / 3)
    assert by_key["b"].share == pytest.approx(1 / 3)
    assert found.overlap == pytest.approx(1 / 3)
    assert not found.saturated


def test_one_run_has_no_effects():
    assert main_effects([cell({"a": 0}, 1.0)], ["a"], LOSS).effects == []


def test_a_level_that_the_holes_leave_open_keeps_the_runs_own_mean():
    # Two corners only: a and b cannot be told apart, and neither are the same partition of three.
    cells = [cell({"a": 0, "b": 0}, 1.0), cell({"a": 1, "b": 1}, 2.0), cell({"a": 1, "b": 2}, 4.0)]
    by_key, _ = effects(cells, "a", "b")
    assert [level.score.mean for level in by_key["a"].levels] == pytest.approx([1.0, 3.0])


def test_a_search_over_a_range_does_not_make_an_idle_setting_matter():
    # The score is the rate's alone, but the search tried rank 64 with the good rates: without the
    # rate in the model, the rank would explain three quarters of the variance.
    cells = [
        cell({"rate": rate, "rank": 64 if rate < 10 else 8}, float(rate)) for rate in range(20)
    ]
    by_key, found = effects(cells, "rate", "rank")
    assert by_key == {} and found.unstated is not None


def test_a_range_that_every_other_setting_was_tried_with_can_be_left_out():
    cells = [cell({"rate": i, "rank": rank}, i + rank) for i in range(30) for rank in (8, 64)]
    by_key, found = effects(cells, "rate", "rank")
    assert (found.skipped, found.unstated) == (("rate",), None)
    means = [level.score.mean for level in by_key["rank"].levels]
    assert means == pytest.approx([22.5, 78.5])
