import json
import re

import pytest
from support import games

from anima_exp.errors import DataError
from anima_exp.tournament.players import read_answers
from anima_exp.tournament.reading import read
from anima_exp.tournament.verdicts import verdicts


def test_ours_names_its_players_and_knows_lengths(tmp_path):
    path = games.write(tmp_path / "a.jsonl", [games.ours(7, "ada", "bob", 3, length1=5, length2=9)])
    (row,) = read([path])
    assert (row.models, row.outcome, row.lengths, row.question) == (
        ("ada", "bob"),
        0.5,
        (5, 9),
        "7",
    )
    assert row.category == "math" and not row.relative


@pytest.mark.parametrize(
    "score, outcome, scores, relative",
    [
        (1, 1.0, None, False),
        (2, 0.0, None, False),
        (3, 0.5, None, False),
        (-1, None, None, False),
        ([9, 8.5], 1.0, (9.0, 8.5), True),
        ([8, 8], 0.5, (8.0, 8.0), True),
        ([-1, -1], None, None, True),
    ],
)
def test_a_score_is_an_outcome(tmp_path, score, outcome, scores, relative):
    path = games.write(tmp_path / "a-vs-b.jsonl", [games.released(1, "a", "b", score)])
    (row,) = read([path])
    assert (row.outcome, row.scores, row.relative) == (outcome, scores, relative)


def test_parsed_false_wins_over_the_score(tmp_path):
    row = games.ours(1, "a", "b", [5.0, 4.0], parsed=False)
    (found,) = read([games.write(tmp_path / "a.jsonl", [row])])
    assert (found.outcome, found.scores, found.relative) == (None, None, True)


def test_fastchats_row_is_two_verdicts_each_in_its_own_order(tmp_path):
    row = {"question_id": 81, "model_1": "a", "model_2": "b", "turn": 2,
           "g1_winner": "model_1", "g2_winner": "tie", "judge": ["gpt-4", "pair-v2"]}  # fmt: skip
    rows = read(
        [games.write(tmp_path / "j.jsonl", [row, {**row, "turn": 1, "g2_winner": "error"}])]
    )
    assert [(one.models, one.outcome, one.turn) for one in rows] == [
        (("a", "b"), 1.0, 2), (("b", "a"), 0.5, 2), (("a", "b"), 1.0, 1), (("b", "a"), None, 1),
    ]  # fmt: skip
    # In game 2 model_1 stands second: that it wins means that the second position wins.
    (_, second) = read([games.write(tmp_path / "k.jsonl", [{**row, "g2_winner": "model_1"}])])
    assert (second.models, second.outcome) == (("b", "a"), 0.0)


def test_rows_end_at_newlines_only(tmp_path):
    text = "one\u2028two\x85three"
    rows = [games.ours(q, "a", "b", 1, text=text) for q in (1, 2)]
    assert len(read([games.write(tmp_path / "a.jsonl", rows)])) == 2


def test_a_folder_is_its_jsonl_files_in_order(tmp_path):
    for name in "ba":
        games.write(tmp_path / f"{name}.jsonl", [games.ours(1, name, "z", 1)])
    (tmp_path / "notes.txt").write_text("x")
    assert [row.models[0] for row in read([tmp_path])] == ["a", "b"]
    assert len(read([tmp_path, tmp_path / "a.jsonl"])) == 2  # no file twice


def broken(**changes):
    row = {**games.ours(3, "a", "b", 1), **changes}
    return {key: value for key, value in row.items() if value is not None}


@pytest.mark.parametrize(
    "row, told",
    [
        (broken(score=None), "the field score is missing. The row has review_id, question_id"),
        (broken(question_id=None), "the field question_id is missing"),
        (broken(model2=None), "the field model2 is missing"),
        (broken(score=4), "score is 4; it must be two numbers"),
        (broken(score=True), "score is true; it must be"),
        (broken(score=[1, "2"]), 'score is [1, "2"]; it must be'),
        (broken(score=[1, float("nan")]), "score is [1, NaN]; it must be"),
        (broken(model2="a"), "both answers are by a"),
        ({"question_id": 1, "model_1": "a", "model_2": "b", "g1_winner": "A", "g2_winner": "tie"},
         'g1_winner is "A"; it must be one of model_1, model_2, tie, error'),
        ({"question_id": 1, "model": "a", "score": 7}, "the row grades a single answer"),
        ([1], "it is one list, not an object with named columns"),
        (broken(model1=3), "model1 is 3; it must be a name."),
        (broken(model1=["a"]), 'model1 is ["a"]; it must be a name.'),
        (broken(model2=" "), 'model2 is " "; it must be a name.'),
        (broken(question_id=[1]), "question_id is [1]; it must be a number or a text."),
        (broken(question_id=True), "question_id is true; it must be a number or a text."),
        (broken(answer1_id={"a": 1}), 'answer1_id is {"a": 1}; it must be a number or a text.'),
        (broken(category=7), "category is 7; it must be a text."),
        (broken(judge=["gpt-4"]), 'judge is ["gpt-4"]; it must be a text.'),
        (broken(parsed="false"), 'parsed is "false"; it must be true or false.'),
        (broken(length1=-1), "length1 is -1; it must be a number of characters (0 or more)."),
        (broken(score=10**400), f"score is {'1' + '0' * 59}...; it must be two numbers"),
        ({"model_a": "a", "model_b": "b", "winner": "a"},
         'winner is "a"; it must be one of model_a, model_b, tie, tie (bothbad).'),
        ({"model_a": "a", "model_b": False, "winner": "tie"}, "model_b is false; it must be a"),
        ({"question_id": 1, "model_1": "a", "model_2": "b", "g1_winner": "tie", "g2_winner": "tie",
          "turn": True}, "turn is true; it must be 1, 2, ..."),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_file_and_row(tmp_path, row, told):
    path = games.write(tmp_path / "a.jsonl", [games.ours(1, "a", "b", 1), row])
    with pytest.raises(DataError, match=re.escape(f"{path}, row 2: {told}")):
        read([path])


def test_a_cut_line_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    whole = json.dumps(games.ours(1, "a", "b", 1))
    path.write_text(f"{whole}\n{whole[:50]}\n")
    with pytest.raises(DataError, match=r"a\.jsonl, row 2: broken JSON: "):
        read([path])


@pytest.mark.parametrize(
    "name, told", [("empty.jsonl", "is empty: it holds no verdicts"), ("nix", "does not exist"),
                   ("folder", "holds no"), ("latin.jsonl", "not UTF-8: byte 0xe9")]
)  # fmt: skip
def test_what_holds_no_verdicts_is_said(tmp_path, name, told):
    (tmp_path / "empty.jsonl").write_text("\n\n")
    (tmp_path / "latin.jsonl").write_bytes(b"\xe9")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=f"{name}.* {told}"):
        read([tmp_path / name])


BATTLES = [
    {"model_a": "a", "model_b": "b", "winner": winner, "turn": 3, "tstamp": 1e9, "judge": f"u{n}"}
    for n, winner in enumerate(["model_a", "model_b", "tie", "tie (bothbad)"])
]


@pytest.mark.parametrize("name", ["battles.jsonl", "battles.json"])
def test_battles_of_the_arena_are_verdicts_each_on_a_question_of_its_own(tmp_path, name):
    path = games.write(tmp_path / name, BATTLES)
    if name.endswith(".json"):
        path.write_text(json.dumps(BATTLES))
    rows = read([path])
    assert [row.outcome for row in rows] == [1.0, 0.0, 0.5, 0.5]
    assert {row.models for row in rows} == {("a", "b")}
    assert len({row.question for row in rows}) == 4
    assert {row.turn for row in rows} == {1} and {row.judge for row in rows} == {""}
    # Other models met on other questions, and that is no mistake here.
    more = games.write(tmp_path / "more.jsonl", [{**BATTLES[0], "model_b": "c"}])
    found, notes = verdicts(read([path, more]), answers={})
    assert (len(found), notes) == (5, [])


def test_answers_of_present_fastchat_files_are_their_first_turn(tmp_path):
    row = {"question_id": 1, "answer_id": "x", "model_id": "m", "tstamp": 1.0}
    row["choices"] = [{"index": 0, "turns": ["one", "two"]}]
    found = read_answers([games.write(tmp_path / "m.jsonl", [row])])
    assert found["x"].length == len("one")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_id": 3}, "model_id is 3; it must be a text."),
        ({"answer_id": [1]}, "answer_id is [1]; it must be a number or a text."),
        ({"text": ["a"]}, "the row has no answer. Add a field text, generation or"),
    ],
)
def test_an_answer_of_a_strange_type_is_one_line(tmp_path, changes, told):
    row = {"answer_id": "x", "model_id": "m", "text": "a"} | changes
    path = games.write(tmp_path / "m.jsonl", [row])
    with pytest.raises(DataError, match=re.escape(f"{path}, row 1: {told}")):
        read_answers([path])
