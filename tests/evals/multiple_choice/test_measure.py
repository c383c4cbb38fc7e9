"""Means over subjects and over questions, with intervals that mean what they say."""

import numpy as np
import pytest

from anima_exp.evals.multiple_choice.benchmark import ENTRIES
from anima_exp.evals.multiple_choice.measure import accuracy, macro_interval
from anima_exp.metrics.intervals import wilson


def test_macro_weighs_subjects_alike_and_micro_questions():
    found = accuracy(["a"] * 8 + ["b"] * 2, [True] * 8 + [False] * 2, {"a": "stem", "b": "other"})
    assert (found.macro.mean, found.micro.mean) == (0.5, 0.8)
    assert {name: share.mean for name, share in found.categories.items()} == {
        "other": 0.0,
        "stem": 1.0,
    }
    assert found.scores(ENTRIES["mmlu"].scores) == {"mmlu": 0.5, "mmlu_micro": 0.8}


def test_the_tiny_worlds_subjects_are_of_one_size_and_need_one_mean():
    assert accuracy(["a", "b"], [True, False], {}).scores(ENTRIES["choices"].scores) == {
        "choices": 0.5
    }


@pytest.mark.parametrize("subjects", [9, 20, 57])
@pytest.mark.parametrize("questions", [2, 5, 30])
@pytest.mark.parametrize("low, high", [(0.2, 0.5), (0.25, 0.95), (0.8, 1.0)])
def test_the_macro_interval_holds_the_truth_in_95_of_100_cases(subjects, questions, low, high):
    rng = np.random.default_rng(0)
    rates = rng.uniform(low, high, (4000, subjects))
    counts = rng.binomial(questions, rates)
    asked = [questions] * subjects
    held = 0
    for right, truth in zip(counts.tolist(), rates.mean(axis=1), strict=True):
        left, end = macro_interval(right, asked)
        held += left <= truth <= end
    # A point, and the chance in 4000 cases.
    assert 0.94 - 0.005 <= held / 4000 <= 0.96 + 0.005


def test_subjects_of_unequal_size_are_covered_too():
    rng = np.random.default_rng(0)
    asked = [2, 2, 3, 5, 8, 30, 30, 100, 100, 300]
    rates = rng.uniform(0.25, 0.95, (4000, len(asked)))
    counts = rng.binomial(asked, rates)
    ends = [macro_interval(right, asked) for right in counts.tolist()]
    truths = rates.mean(axis=1)
    held = sum(left <= truth <= end for (left, end), truth in zip(ends, truths, strict=True))
    assert 0.94 - 0.005 <= held / 4000 <= 0.96 + 0.005


def test_one_subject_has_wilsons_interval():
    found = accuracy(["a"] * 10, [True] * 7 + [False] * 3, {}).macro
    assert (found.low, found.high) == wilson(7, 10)


def test_all_right_is_not_taken_for_certain():
    found = accuracy(["a", "a", "b", "b"], [True] * 4, {}).macro
    assert found.mean == found.high == 1.0
    assert found.low == pytest.approx(wilson(4, 4)[0])  # as of four questions of one subject


def test_the_macro_interval_is_no_wider_than_the_questions_allow():
    # 57 subjects of 5 questions at 60 % each: a plain share of 285 has an interval of 11 points.
    left, end = macro_interval([3] * 57, [5] * 57)
    assert end - left == pytest.approx(0.127, abs=0.002)  # 11.3 * sqrt(5 / 4)


def test_rows_name_subjects_categories_and_means():
    rows = accuracy(["a", "b"], [True, False], {"a": "stem"}).rows()
    assert [(row["of"], row["name"]) for row in rows] == [
        ("subject", "a"), ("subject", "b"), ("category", "stem"), ("mean", "macro"),
        ("mean", "micro"),
    ]  # fmt: skip
