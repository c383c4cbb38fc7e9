"""Conversations of the tiny world: right, repeatable, and no problem in training and test."""

import itertools
import json
import re
import subprocess
import sys
from collections import Counter

import pytest
from transformers import AutoTokenizer

from anima_exp.data.chat.masks import ChatMasks
from anima_exp.data.chat.rows import messages
from anima_exp.data.chat.rules import check
from anima_exp.data.chat.templates import choose
from anima_exp.errors import ConfigError
from anima_exp.system.paths import tiny_base
from anima_exp.tiny import conversations
from anima_exp.tiny.conversations import KINDS, conversation_rows, dialogues
from anima_exp.tiny.problems import operands


@pytest.fixture(scope="module")
def rows():
    return {part: conversation_rows(600, part=part) for part in ("train", "test")}


def turns(row):
    """Yield each question with the answer before it and the answer after it."""
    before = None
    for at, message in enumerate(row["messages"]):
        if message["role"] == "user":
            end = next(m for m in row["messages"][at:] if m["role"] == "assistant" and m["content"])
            yield before, message["content"], end["content"]
            before = end["content"]


def test_no_problem_of_a_test_conversation_is_in_a_training_conversation():
    def problems(part, count):
        stream = itertools.islice(dialogues(seed=3, part=part), count)
        return {operands(problem) for dialogue in stream for problem in dialogue.problems}

    test = problems("test", 600)
    assert len(test) > 500
    assert not test & problems("train", 6_000)


def test_every_kind_comes_equally_often_with_two_or_three_answers(rows):
    for part in rows.values():
        counts = Counter(row["kind"] for row in part)
        for kind in KINDS:
            assert abs(counts[kind] - 200) < 5
            answers = [
                sum(message["role"] == "assistant" for message in row["messages"])
                for row in part
                if row["kind"] == kind
            ]
            assert set(answers) == {2, 3}
            assert 70 < answers.count(3) < 130


def test_a_later_turn_is_right_only_with_the_answer_before_it(rows):
    asked = Counter()
    for before, question, answer in (turn for row in rows["test"] for turn in turns(row)):
        if before is None:
            continue
        items = re.findall(r"\w+", before)
        number = int((re.findall(r"\d+", question) or ["0"])[0])
        if "plus" in question or "Add" in question:
            expected = str(int(before) + number)
        elif "minus" in question or "Take" in question:
            expected = str(int(before) - number)
        elif "odd" in question:
            expected = "odd" if int(before) % 2 else "even"
        elif "reverse" in question or "backwards" in question:
            expected = (", " if "," in before else " ").join(reversed(items))
        else:
            expected = items[0 if "first" in question else -1]
        assert answer == expected, (before, question)
        asked[question.split()[0]] += 1
    assert len(asked) > 6


def test_a_tool_computes_what_the_call_says(rows):
    calling = [row for row in rows["train"] if row["kind"] == "calls"]
    for row in calling:
        question, call, result, answer = row["messages"][:4]
        [function] = [one["function"] for one in call["tool_calls"]]
        a, b = function["arguments"]["a"], function["arguments"]["b"]
        assert [str(a), str(b)] == re.findall(r"\d+", question["content"])
        assert result["role"] == "tool"
        assert result["content"] == str(a + b if function["name"] == "sum" else a - b)
        assert answer["content"] == result["content"]
        assert function["name"] in [tool["function"]["name"] for tool in row["tools"]]
    assert all("tools" not in row for row in rows["train"] if row["kind"] != "calls")


def test_the_same_seed_gives_the_same_rows_in_another_process(rows):
    script = (
        "import json; from anima_exp.tiny.conversations import conversation_rows;"
        "print(json.dumps(conversation_rows(30)))"
    )
    for seed in ("1", "2"):
        printed = subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert json.loads(printed) == rows["train"][:30]


def test_no_two_rows_are_the_same_and_more_rows_begin_with_the_fewer(rows):
    assert len({json.dumps(row) for row in rows["train"]}) == 600
    assert conversation_rows(50, seed=1) != conversation_rows(50)
    assert conversation_rows(50) == rows["train"][:50]


def test_too_many_rows_are_one_line(monkeypatch):
    few = conversation_rows(3)
    endless = itertools.repeat(Row(few[0]))
    monkeypatch.setattr(conversations, "dialogues", lambda **_: endless)
    with pytest.raises(ConfigError, match=r"fewer than 3 different conversations\. Give a sma"):
        conversation_rows(3)


class Row:
    def __init__(self, row):
        self.row = lambda: row


def test_the_tiny_template_shows_every_row_with_a_span_for_each_answer(rows):
    tokenizer = AutoTokenizer.from_pretrained(tiny_base())
    masks = ChatMasks(choose("tiny", tokenizer), tokenizer)
    read = [messages(row) for row in rows["train"]]
    for conversation in read:
        check(conversation)
    for conversation, found in zip(read, masks.rows_of_each(read), strict=True):
        [row] = found  # one row: the template writes an answer as it asked for it
        answers = [message for message in conversation.messages if message.role == "assistant"]
        texts = [tokenizer.decode(row.ids[span.start : span.end]) for span in row.spans]
        assert len(texts) == len(answers)
        for text, answer in zip(texts, answers, strict=True):
            assert text.endswith("</s>")
            if answer.content:
                assert text == f"{answer.content}</s>"
            else:
                [call] = answer.tool_calls
                assert text == f"{call.name} {json.dumps(call.arguments)}</s>"
