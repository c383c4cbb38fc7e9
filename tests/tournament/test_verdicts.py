import pytest
from support import games

from anima_exp.errors import DataError
from anima_exp.tournament.players import Answer
from anima_exp.tournament.reading import read
from anima_exp.tournament.verdicts import verdicts


def found(folder, **options):
    return verdicts(read([folder]), answers={}, **options)


def test_files_of_different_questions_are_refused_by_name(tmp_path):
    games.write(tmp_path / "a.jsonl", [games.ours(q, "a", "b", 1) for q in (1, 2)])
    games.write(tmp_path / "b.jsonl", [games.ours(q, "b", "a", 1) for q in (1, 3)])
    with pytest.raises(DataError, match=r"a\.jsonl, row 2: question 2 is not in .*b\.jsonl\. Scor"):
        found(tmp_path)
    kept, notes = found(tmp_path, on_missing="intersect")
    assert [one.question for one in kept] == ["1", "1"]
    assert notes == ["2 verdicts are left out, because not every pair has their questions."]
    assert len(found(tmp_path, on_missing="keep")[0]) == 4


def test_no_question_in_common_leaves_nothing(tmp_path):
    games.write(
        tmp_path / "a.jsonl",
        [games.ours(1, "a", "b", 1), games.ours(2, "b", "a", 1)],
    )
    with pytest.raises(DataError, match="no question that every pair has"):
        found(tmp_path, on_missing="intersect")


def test_a_verdict_given_twice_is_an_error(tmp_path):
    rows = [games.ours(q, "a", "b", 1) for q in (1, 2, 1)]
    games.write(tmp_path / "a.jsonl", rows)
    with pytest.raises(
        DataError, match=r"row 3: a shown before b on question 1 has a verdict already, in .* row 1"
    ):
        found(tmp_path)


def test_judges_that_are_mixed_are_told(tmp_path):
    games.write(tmp_path / "a.jsonl", [games.ours(1, "a", "b", 1, judge=j) for j in ("x", "y")])
    assert found(tmp_path)[1] == ["The verdicts are by 2 judges: x, y."]


def test_questions_tell_the_categories_that_rows_do_not(tmp_path):
    row = {key: value for key, value in games.ours(1, "a", "b", 1).items() if key != "category"}
    games.write(tmp_path / "r" / "a.jsonl", [row])
    path = games.write(tmp_path / "q.jsonl", [{"question_id": 1, "category": "fermi"}])
    assert found(tmp_path / "r", questions=path)[0][0].category == "fermi"


def test_what_was_given_and_fits_nothing_is_told(tmp_path):
    row = {key: value for key, value in games.ours(1, "a", "b", 1).items() if key != "category"}
    games.write(tmp_path / "r" / "a.jsonl", [row])
    questions = games.write(tmp_path / "q.jsonl", [{"question_id": 2, "category": "fermi"}])
    _, notes = verdicts(
        read([tmp_path / "r"]), answers={"x": Answer(("m",), 3)}, questions=questions
    )
    assert notes == [
        "None of the 1 answers given with answers= occurs in the verdicts.",
        "1 verdicts are on questions without a category.",
    ]
