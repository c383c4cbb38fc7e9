"""The segments of a row cover it without a gap, and say from whom its tokens come."""

import random

import pytest
from support.chat_rows import FORGETS, chat_file, decoded, masks_of, row

from anima_exp.data import source
from anima_exp.data.chat.conversation import Message
from anima_exp.data.chat.segments import LABELS, Kind, Segment, segments
from anima_exp.data.chat.tokenize import tokenize

TOOL = {"name": "add", "parameters": {"a": 1}}
CALL = {"role": "assistant", "tool_calls": [{"name": "add", "arguments": {"a": 1}}]}


@pytest.fixture
def parts_of(tmp_path):
    def _parts_of(*given, template="chatml", **settings):
        """For each row the kind, message and text of every segment."""
        config = chat_file(tmp_path, *given, **settings)
        main = source.training_source(config)
        tokens = tokenize(main, config, masks_of(config, template), cache=tmp_path / "cache")
        found = []
        for number in range(len(tokens)):
            parts, ids = tokens.segments(number), tokens.row(number)
            assert [0, *(one.end for one in parts)] == [*(one.start for one in parts), len(ids)]
            found.append([(p.kind, p.message, decoded(ids[p.start : p.end])) for p in parts])
        return found

    return _parts_of


def test_system_user_answer_and_what_follows_the_last_answer(parts_of):
    [parts] = parts_of(row("q", "a", "p", "b", system="S"))
    assert parts == [
        (Kind.system, 0, "<s><|im_start|>system\nS<|im_end|>\n"),
        (Kind.user, 1, "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"),
        (Kind.assistant, 2, "a<|im_end|>"),
        (Kind.user, 3, "\n<|im_start|>user\np<|im_end|>\n<|im_start|>assistant\n"),
        (Kind.assistant, 4, "b<|im_end|>"),
        (Kind.ending, -1, "\n"),
    ]


def test_a_template_that_writes_system_and_user_as_one_has_a_prompt(parts_of):
    [parts] = parts_of(row("q", "a", system="S"), template="gemma")
    assert [(kind, message) for kind, message, _ in parts] == [
        (Kind.prompt, -1),
        (Kind.assistant, 2),
        (Kind.ending, -1),
    ]


def test_earlier_turns_that_are_not_trained_on_are_history(parts_of):
    given = row("q", "a", "p", "b", system="S")
    for settings in ({"train_on": "last"}, {"train_on": "message"}):
        given["messages"][2]["train"] = False
        [parts] = parts_of(given, **settings)
        assert [(kind, message) for kind, message, _ in parts] == [
            (Kind.history, -1),
            (Kind.assistant, 4),
            (Kind.ending, -1),
        ]
    del given["messages"][2]["train"]
    rows = parts_of(given, template=FORGETS)
    assert [[kind for kind, _, _ in parts] for parts in rows] == [
        [Kind.system, Kind.user, Kind.assistant, Kind.ending],
        [Kind.history, Kind.assistant, Kind.ending],
    ]


def test_the_result_of_a_tool_is_a_segment_of_its_own(parts_of):
    result = {"role": "tool", "content": "2"}
    given = {
        "messages": [
            {"role": "user", "content": "1+1?"},
            CALL,
            result,
            {"role": "assistant", "content": "It is 2."},
        ],
        "tools": [TOOL],
    }
    [parts] = parts_of(given)
    assert [(kind, message) for kind, message, _ in parts if kind is not Kind.prompt] == [
        (Kind.assistant, 1),
        (Kind.tool, 2),
        (Kind.assistant, 3),
        (Kind.ending, -1),
    ]


def test_everything_that_is_trained_on_is_one_segment(parts_of):
    [parts] = parts_of(row("q", "a", "p", "b"), train_on="all")
    assert [kind for kind, _, _ in parts] == [Kind.text]


def test_two_answers_in_a_row_and_several_users_are_covered(parts_of):
    given = row("q", "a")
    given["messages"].insert(1, {"role": "user", "content": "p"})
    given["messages"].append({"role": "assistant", "content": "b"})
    [parts] = parts_of(given)
    assert [(kind, message) for kind, message, _ in parts] == [
        (Kind.user, -1),
        (Kind.assistant, 2),
        (Kind.user, -1),
        (Kind.assistant, 3),
        (Kind.ending, -1),
    ]


def test_random_answers_are_covered_whatever_lies_between_them():
    dice = random.Random(0)
    for _ in range(300):
        roles = ["system"] * dice.randint(0, 1) + ["user"]
        roles += dice.choices(["user", "assistant", "tool", "system"], k=dice.randint(1, 6))
        messages = [Message(role, "x") for role in roles]
        assistants = [n for n, role in enumerate(roles) if role == "assistant"]
        trained = sorted(dice.sample(assistants, dice.randint(0, len(assistants))))
        at, answers = 0, []
        for number in trained:
            start = at + dice.randint(0, 4)
            at = start + dice.randint(1, 4)
            answers.append((start, at, number))
        length = max(at + dice.randint(0, 2), 1)
        opening = dice.randint(0, length)
        found = segments(messages, answers, length, opening=opening)
        assert [0, *(one.end for one in found)] == [*(one.start for one in found), length]
        assert all(one.start < one.end for one in found)
        learned = [one for one in found if one.kind.is_trained]
        assert learned == (
            [Segment(*answer[:2], Kind.assistant, answer[2]) for answer in answers]
            or [Segment(0, length, Kind.text)]
        )


def test_every_kind_has_a_label_and_two_are_trained_on():
    assert list(LABELS) == list(Kind)
    assert [kind.name for kind in Kind if kind.is_trained] == ["assistant", "text"]
    assert [kind.value for kind in Kind] == [*range(8)]  # stored in the cache
