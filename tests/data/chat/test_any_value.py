"""Any JSON value in any place of a row is read, or is an error that a user can act on."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from anima_exp.data.chat import rows, texts
from anima_exp.data.chat.recognize import auto
from anima_exp.data.chat.rules import check
from anima_exp.errors import DataError

VALUES = [None, True, 0, 7, -1.5, "", "x", "{}", "[[]]", "\ud83d", [], [[]], ["x"], {}, {"x": {}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"a": [2]}}}
TURNS = [
    {"role": "user", "content": [{"type": "text", "text": "2+2?"}], "train": False},
    {"role": "assistant", "content": "<think>a</think>b", "tool_calls": [CALL], "weight": 1},
    {"role": "tool", "content": "4", "tool_call_id": "c1", "name": "add"},
    {
        "role": "assistant",
        "content": [{"type": "reasoning", "value": "a"}, {"type": "text", "text": "b"}],
    },
    {"role": "assistant", "content": "4", "thinking": "a", "function_call": None},
]
SHARED = [
    {"from": "human", "value": "2+2?"},
    {"from": "function_call", "value": '{"name": "add", "arguments": {}}'},
    {"from": "observation", "value": "4"},
]
LAST = {"from": "gpt", "value": "4"}
REPLY = {"role": "assistant", "text": "4", "rank": 0, "deleted": False, "replies": []}
TASK = {"instruction": "Human:a\nAssistant:", "input": "", "output": "b"}
ROWS: list[tuple[Any, dict[str, Any]]] = [
    (rows.messages, {"messages": TURNS, "tools": [{"name": "add"}], "system": "a"}),
    (rows.sharegpt, {"conversations": SHARED, "chosen": LAST, "tools": "[]"}),
    (rows.prompt_completion_chat, {"prompt": TURNS[:1], "completion": TURNS[1:2]}),
    (texts.oasst1_chat, {"text": "### Human: a### Assistant: b"}),
    (
        texts.oasst1_chat,
        {"prompt": {"role": "prompter", "text": "a", "replies": [REPLY, REPLY]}},
    ),
    (texts.hh_rlhf_chat, {"chosen": "\n\nHuman: a\n\nAssistant: b"}),
    (texts.belle_chat, TASK),
    (texts.alpaca_chat, {**TASK, "history": [["a", "b"]], "system": "c"}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


@pytest.mark.parametrize(("recipe", "row"), ROWS, ids=[recipe.__name__ for recipe, _ in ROWS])
def test_any_value_in_any_place_is_read_or_refused(recipe, row):
    check(recipe(row))
    refused = 0
    for path in places(row):
        for value in VALUES:
            changed = copy.deepcopy(row)
            inside = changed
            for key in path[:-1]:
                inside = inside[key]
            inside[path[-1]] = copy.deepcopy(value)
            for use in (lambda row: check(recipe(row)), lambda row: auto([row])):
                try:
                    use(changed)
                except DataError as error:
                    assert str(error).isprintable(), (path, value)
                    refused += 1
    assert refused
