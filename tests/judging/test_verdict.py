"""Verdicts are read by the published rule, on the texts it was published with too."""

import json

import pytest

from anima_exp.config.commands import Kind
from anima_exp.judging.verdict import parse, parsed


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("8 9\nBoth are good.", [8, 9]),
        ("8.5 9", [8.5, 9]),
        ("8,9\nwhy", [8, 9]),
        ("8, 9", [-1, -1]),  # three tokens: the published rule splits at single spaces
        ("8 9 ", [-1, -1]),
        ("8 9 7", [-1, -1]),
        ("\n8 9", [-1, -1]),
        ("Scores: 8 9", [-1, -1]),
        ("reasons first\n8 9", [-1, -1]),
        ("nan 9", [-1, -1]),
        ("inf 9", [-1, -1]),
        ("-1 -1", [-1, -1]),
        ("", [-1, -1]),
    ],
)
def test_two_numbers_alone_on_the_first_line(text, score):
    assert parse(text, Kind.relative) == score
    assert parsed(parse(text, Kind.relative)) == (score != [-1, -1])


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("reasons\n\n2", 2),
        ("3\n\n ", 3),
        (" 1 ", 1),
        ("reasons\n4", -1),
        ("reasons\n0", -1),
        ("Best answer: 2", -1),
        ("1\nbecause", -1),
        ("1.", -1),
        ("", -1),
    ],
)
def test_one_digit_alone_on_the_last_line(text, score):
    assert parse(text, Kind.threeclass) == score
    assert parsed(parse(text, Kind.threeclass)) == (score != -1)


def released(shared_data, folder):
    folder = shared_data / "eval" / "ratings" / folder
    if not folder.is_dir():
        pytest.skip(f"no released verdicts here: {folder}")
    lines = [
        line
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text("utf-8").split("\n")
    ]
    return [json.loads(line) for line in lines if line.strip()]


def test_the_released_three_class_verdicts_are_read_as_released(shared_data):
    rows = released(shared_data, "vicuna-pairwise")
    assert len(rows) == 4480
    differ = [row for row in rows if parse(row["text"], Kind.threeclass) != row["score"]]
    assert differ == []
    assert sum(row["score"] == -1 for row in rows) == 13


def test_the_released_relative_verdicts_are_read_as_released_but_for_math_scored_by_hand(
    shared_data,
):
    rows = released(shared_data, "vicuna-relative")
    assert len(rows) == 2560
    unread = [row for row in rows if not parsed(parse(row["text"], Kind.relative))]
    # The three math questions ask for a tuple at the end, which the rule cannot read.
    assert {row["question_id"] for row in unread} == {68, 69, 70}
    assert len(unread) == 96
    # 75 of the 96 carry scores all the same, whole numbers where the rule writes 8.0: by hand.
    by_hand = [row for row in unread if row["score"] != [-1, -1]]
    assert len(by_hand) == 75
    assert all(type(score) is int for row in by_hand for score in row["score"])
    read = [row for row in rows if parsed(parse(row["text"], Kind.relative))]
    assert len(read) == 2464
    assert [row for row in read if parse(row["text"], Kind.relative) != row["score"]] == []
