"""The judge by reference answer: offline, the same files, every time the same."""

import pytest
from support.judge_files import answers, config, verdicts

from anima_exp.config.commands import Judge, Kind
from anima_exp.errors import DataError
from anima_exp.judging.run import judge

RIGHT, WRONG = "It is 4.", "It is 5."


def offline(tmp_path, **settings):
    """alpha is right, beta wrong in the first question; both are right, then wrong, after it."""
    files = [
        answers(tmp_path, "alpha", [RIGHT, " It  is 4", WRONG], reference=RIGHT),
        answers(tmp_path, "beta", [WRONG, RIGHT, WRONG]),
    ]
    given = {"judge": Judge.reference, "judge_model": None, "yes": False}
    return config(tmp_path, None, files, **(given | settings))


@pytest.mark.parametrize(
    ("kind", "alpha_first", "beta_first"),
    [
        (Kind.relative, [[10, 1], [10, 10], [1, 1]], [[1, 10], [10, 10], [1, 1]]),
        (Kind.threeclass, [1, 3, 3], [2, 3, 3]),
    ],
)
def test_right_beats_wrong_in_both_orders(tmp_path, kind, alpha_first, beta_first):
    judge(offline(tmp_path, kind=kind))
    assert [row["score"] for row in verdicts(tmp_path, "alpha-*")] == alpha_first
    assert [row["score"] for row in verdicts(tmp_path, "beta-*")] == beta_first
    assert {(row["judge"], row["parsed"]) for row in verdicts(tmp_path)} == {("reference", True)}


def test_it_needs_neither_key_nor_confirmation_and_repeats_itself(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    judge(offline(tmp_path))
    first = verdicts(tmp_path)
    judge(offline(tmp_path))
    assert verdicts(tmp_path) == first
    judge(offline(tmp_path, out=str(tmp_path / "other")))
    again = "".join(p.read_text("utf-8") for p in (tmp_path / "other").glob("*.jsonl"))
    assert len(first) == 6
    assert all(row["key"] in again and row["review_id"] in again for row in first)


def test_a_row_without_a_reference_is_named(tmp_path):
    files = [answers(tmp_path, m, ["x"]) for m in ("a", "b")]
    with pytest.raises(DataError, match=r"a\.jsonl, line 1: question 1 has no field 'reference'"):
        judge(config(tmp_path, None, files, judge=Judge.reference))
