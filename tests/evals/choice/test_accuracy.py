"""Means over subjects and over questions, with intervals that mean what they say."""

import random

from anima_exp.evals.choice.accuracy import accuracy


def test_macro_weighs_subjects_alike_and_micro_questions():
    found = accuracy(["a"] * 8 + ["b"] * 2, [True] * 8 + [False] * 2, {"a": "stem", "b": "other"})
    assert (found.macro.mean, found.micro.mean) == (0.5, 0.8)
    assert {name: share.mean for name, share in found.categories.items()} == {
        "other": 0.0,
        "stem": 1.0,
    }
    assert found.scores("mmlu") == {"mmlu": 0.5, "mmlu_micro": 0.8}


def test_the_tiny_worlds_subjects_are_of_one_size_and_need_one_mean():
    assert accuracy(["a", "b"], [True, False], {}).scores("choices") == {"choices": 0.5}


def test_the_macro_interval_holds_the_truth_about_nineteen_times_in_twenty():
    rng = random.Random(0)
    rates = {f"s{n}": rng.uniform(0.25, 0.95) for n in range(20)}
    truth = sum(rates.values()) / len(rates)
    held = 0
    for _ in range(400):
        subjects = [name for name in rates for _ in range(15)]
        right = [rng.random() < rates[name] for name in subjects]
        macro = accuracy(subjects, right, {}).macro
        held += macro.low <= truth <= macro.high
    assert 0.92 <= held / 400 <= 0.99


def test_rows_name_subjects_categories_and_means():
    rows = accuracy(["a", "b"], [True, False], {"a": "stem"}).rows()
    assert [(row["of"], row["name"]) for row in rows] == [
        ("subject", "a"), ("subject", "b"), ("category", "stem"), ("mean", "macro"),
        ("mean", "micro"),
    ]  # fmt: skip
