"""Files of answers in every published form; and what is wrong with one, in one line."""

import json

import pytest
from support.judge_files import answers, config, write

from anima_exp.errors import AnimaError, ConfigError, DataError
from anima_exp.judging.matches import pairs, read_answers, read_questions
from anima_exp.judging.run import judge
from anima_exp.system.hashing import short_id


def matches(paths, questions=None, reference_player=None, max_questions=None):
    return pairs(
        read_answers(paths),
        questions=questions,
        reference_player=reference_player,
        max_questions=max_questions,
    )


def test_a_model_is_called_by_its_rows_else_by_its_file(tmp_path):
    paths = [
        answers(tmp_path, "a", ["x"], model_id="gpt:1"),
        answers(tmp_path, "b", ["y"], model="mine"),
        answers(tmp_path, "c", ["z"]),
    ]
    assert list(read_answers(paths)) == ["gpt:1", "mine", "c"]


def test_files_of_one_name_are_called_by_their_folders(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    paths = [answers(tmp_path / name, "answers", ["x"]) for name in ("one", "two")]
    assert list(read_answers(paths)) == ["one-answers", "two-answers"]


def test_a_generation_of_qloras_is_cut_where_a_next_chat_begins(tmp_path):
    row = {"question_id": 1, "text": "Why?", "generation": "x", "generation_truncated": "Because. "}
    row["generation_truncated"] += "A chat between a curious human and an artificial intelligence"
    paths = [write(tmp_path / "g.jsonl", [row]), answers(tmp_path, "a", ["So."], question="Why?")]
    answer = read_answers(paths)["g"]["1"]
    assert (answer.text, answer.question) == ("Because. ", "Why?")
    assert answer.answer_id == short_id("Because. ")


def test_missing_ids_are_those_that_qlora_released(shared_data):
    name = "7b-guanaco-vicuna-generations-topp0.9-temp0.7"
    made = shared_data / "eval/generations/vicuna" / f"{name}.jsonl"
    rated = (
        shared_data / "eval/ratings/vicuna-pairwise" / f"{name}-vs-answer-gpt4-"
        "gpt-4-reviewer-threeclass.jsonl"
    )
    if not made.is_file() or not rated.is_file():
        pytest.skip(f"no released generations here: {made}")
    other = shared_data / "eval/generations/vicuna/answer_gpt4.jsonl"
    own = read_answers([str(made), str(other)])[name]
    rows = [json.loads(line) for line in rated.read_text("utf-8").split("\n") if line]
    assert len(rows) == 80
    assert [own[str(r["question_id"])].answer_id for r in rows] == [r["answer1_id"] for r in rows]


def test_lines_end_at_a_line_feed_alone(tmp_path):
    paths = [answers(tmp_path, m, ["one\u2028two\x85three"]) for m in ("a", "b")]
    assert read_answers(paths)["a"]["1"].text == "one\u2028two\x85three"


def test_every_pair_or_all_against_one(tmp_path):
    paths = [answers(tmp_path, m, ["x", "y"]) for m in ("a", "b", "c")]
    names = [pair.models for pair in matches(paths)]
    assert names == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [p.models for p in matches(paths, reference_player="b")] == [("a", "b"), ("c", "b")]
    assert [p.models for p in matches(paths, reference_player="first")] == [("b", "a"), ("c", "a")]
    assert all(len(pair.matches) == 4 for pair in matches(paths))


def test_questions_that_are_left_out_are_counted(tmp_path, capsys):
    paths = [
        answers(tmp_path, "a", ["x", None, "z", "v"]),
        answers(tmp_path, "b", ["x", "y", "z", "w"]),
    ]
    questions = write(tmp_path / "q.jsonl", [{"question_id": n, "text": "?"} for n in (1, 3)])
    settings = {"questions": questions, "max_questions": 1, "dry_run": True}
    judge(config(tmp_path, None, paths, **settings))
    out = capsys.readouterr().out
    assert (
        "a / b: questions left out: 1 that only one model answered, 1 that are not in the "
        "question file, 1 that are beyond max_questions." in out
    )


def test_the_same_question_may_be_a_number_here_and_a_text_there(tmp_path):
    paths = [
        write(tmp_path / "a.jsonl", [{"question_id": 1, "text": "x", "question": "Q"}]),
        write(tmp_path / "b.jsonl", [{"question_id": "1", "text": "y"}]),
    ]
    assert len(matches(paths)[0].matches) == 2


TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "2+3?"},
    {"role": "assistant", "content": "", "tool_calls": [{"name": "add", "arguments": {"a": 2}}]},
    {"role": "tool", "content": "5"},
    {"role": "user", "content": "And 4?"},
]
SHOWN = (
    "The answer is to the last turn of this conversation.\n\n"
    'tools that the assistant may call:\n{"type": "function", "function": {"name": "add"}}\n\n'
    "system:\nBe brief.\n\nuser:\n2+3?\n\n"
    'assistant:\n{"name": "add", "arguments": {"a": 2}}\n\ntool:\n5\n\nuser:\nAnd 4?'
)


def test_the_judge_sees_the_earlier_turns_of_a_conversation(tmp_path):
    ours = {
        "question": "And 4?",
        "messages": TURNS,
        "tools": [{"name": "add"}],
        "schema_version": 1,
    }
    paths = [answers(tmp_path, name, ["x"], **ours) for name in ("a", "b")]
    [pair] = matches(paths)
    assert {match.question.text for match in pair.matches} == {SHOWN}
    row = {"messages": TURNS, "tools": [{"name": "add"}], "category": "math"}
    questions = read_questions(write(tmp_path / "q.jsonl", [row]))
    assert (questions["1"].text, questions["1"].category) == (SHOWN, "math")
    others = [
        answers(tmp_path, name, ["x"], messages=[*TURNS, {"role": "assistant", "content": "9"}])
        for name in ("a", "b")
    ]
    assert matches(others)[0].matches[0].question.text == "Question 1?"
    with pytest.raises(DataError, match=r"q\.jsonl, line 1: message 1, the last one, is the assis"):
        read_questions(
            write(tmp_path / "q.jsonl", [{"messages": [{"role": "assistant", "content": "9"}]}])
        )


GOOD = {"question_id": 1, "text": "x", "question": "Q?"}
BAD_ROWS = {
    "no text": ({"question_id": 1}, "field 'text' is missing; the row has question_id."),
    "null": ({"question_id": 1, "text": None}, "field 'text' is null, not text;"),
    "no id": ({"text": "x"}, "field 'question_id' is missing. Use a whole number or a text."),
    "odd id": ({"text": "x", "question_id": [1]}, "field 'question_id' is a list."),
    "two lines": (GOOD | {"model_id": "a\nb"}, "field 'model_id' contains a line break"),
    "half a letter": ({"question_id": 1, "text": "\ud83d"}, "'text' contains half a character"),
    "another question": (GOOD | {"question": "R?"}, "the question of question_id 1 differs from"),
    "no common one": (GOOD | {"question_id": 7}, "have no question in common"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named_with_its_file_and_line(tmp_path, case):
    row, told = BAD_ROWS[case]
    bad = tmp_path / "bad.jsonl"
    bad.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError) as error:
        matches([write(tmp_path / "good.jsonl", [GOOD]), str(bad)])
    assert told in str(error.value)
    assert "bad.jsonl" in str(error.value)
    assert "\n" not in str(error.value)


def test_other_faults_of_files_are_one_line(tmp_path):
    a, b = answers(tmp_path, "a", ["x"]), answers(tmp_path, "b", ["y"])
    twice = write(tmp_path / "twice.jsonl", [GOOD, GOOD])
    bare = [write(tmp_path / f"{n}.jsonl", [{"question_id": 1, "text": n}]) for n in ("c", "d")]
    (tmp_path / "broken.jsonl").write_text(json.dumps(GOOD) + '\n{"question_id": 2, "te\n')
    (tmp_path / "empty.jsonl").write_text("")
    faults = {
        (a,): "are all by one model, 'a', but a pair needs two.",
        (a, twice): "twice.jsonl, line 2: this is a second answer by model 'twice' to question 1;",
        (a, str(tmp_path / "broken.jsonl")): "broken.jsonl, line 2: broken JSON",
        (a, str(tmp_path / "empty.jsonl")): "empty.jsonl contains no rows.",
        (a, str(tmp_path / "bb.jsonl")): "no such file. Did you mean 'b.jsonl'?",
        tuple(bare): "c.jsonl, line 1: the text of question 1 is missing. Give questions=FILE",
    }
    for paths, told in faults.items():
        with pytest.raises(DataError) as error:
            matches(list(paths))
        assert told in str(error.value), paths
        assert "\n" not in str(error.value)
    with pytest.raises(
        ConfigError,
        match=r"reference_player=aa is not one of the models\. There are: first, a, b\.$",
    ):
        matches([a, b], reference_player="aa")


SETTINGS = {
    "answers": ([], "answers=[] names no files."),
    "judge_model": (None, "judge_model is not set, so there is no judge."),
    "concurrency": (0, "concurrency=0 must be greater than 0."),
    "retries": (-1, "retries=-1 must be at least 0."),
    "reviewers": ("r.jsonl", "reviewers=r.jsonl chooses among the prompts of a file"),
    "prompts": ("my_threeclass.jsonl", "Add kind=threeclass, or rename the file."),
    "max_cost": (1.0, "max_cost=1.0 needs prices. Give price_per_million_input_tokens"),
    "price_per_million_input_tokens": (1.0, "is set, so there is no cost. Give both, or neither."),
    "base_url": ("localhost:8000", "base_url=localhost:8000 is not a valid address."),
}


@pytest.mark.parametrize("key", SETTINGS)
def test_settings_that_cannot_be_are_one_line(tmp_path, key):
    value, told = SETTINGS[key]
    with pytest.raises(AnimaError) as error:
        judge(config(tmp_path, None, **{key: value}))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_fastchats_present_files_are_read_by_their_first_turns(tmp_path, capsys):
    questions = [{"question_id": n, "turns": [f"Write {n}.", "Shorter."]} for n in (1, 2)]
    files = [
        write(
            tmp_path / f"{m}.jsonl",
            [
                {"question_id": n, "answer_id": f"{m}{n}", "model_id": m,
                 "choices": [{"index": 0, "turns": [f"{m} {n}", "two"]}]}
                for n in (1, 2)
            ],
        )
        for m in "xy"
    ]  # fmt: skip
    known = read_questions(str(write(tmp_path / "q.jsonl", questions)))
    players = read_answers([str(file) for file in files])
    assert {key: one.text for key, one in known.items()} == {"1": "Write 1.", "2": "Write 2."}
    assert [one.text for one in players["x"].values()] == ["x 1", "x 2"]
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3 and all("2 rows have several turns" in line for line in told)
