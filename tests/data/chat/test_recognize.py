"""The recipe of a data set is recognized from its first rows, or refused in one line."""

import pytest

from anima_exp.data.chat.recognize import auto
from anima_exp.data.formats import WITH_RECIPE
from anima_exp.errors import DataError

CHAT = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
TASK = {"instruction": "Add.", "input": "", "output": "4"}
ROWS = {
    "messages": [{"messages": CHAT, "prompt": "2+2?"}],
    "sharegpt": [{"conversations": CHAT, "tools": "[]"}, {"conversations": CHAT, "chosen": {}}],
    "prompt_completion_chat": [{"prompt": CHAT[:1], "completion": "4"}],
    "oasst1_chat": [
        {"text": "### Human: 2+2?### Assistant: 4"},
    ],
    "hh_rlhf_chat": [{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a"}],
    "belle_chat": [{**TASK, "instruction": "Human:2+2?\nAssistant:"}],
    "alpaca_chat": [{**TASK, "history": []}, {**TASK, "system": None}],
    "alpaca": [TASK, {"instruction": "Human:", "output": "4"}],
    "prompt_completion": [{"prompt": "a", "completion": "b"}],
    "prompt_response": [{"prompt": "a", "response": "b"}],
    "input_output": [{"input": "a", "output": "b"}],
    "flan_v2": [{"inputs": "a", "targets": "b"}],
    "chip2": [{"text": "<human>: a\n<bot>: b"}],
    "unnatural_instructions": [{"instances": [{"instruction_with_input": "a", "output": "b"}]}],
}


@pytest.mark.parametrize("recipe", ROWS)
def test_a_shape_is_recognized_with_its_reason(recipe):
    for row in ROWS[recipe]:
        found = auto([row, row])
        assert found.recipe == recipe
        column = next(name for name in row if f"'{name}'" in found.reason)
        assert found.reason.endswith(".") and column


def test_every_recipe_of_single_answers_is_recognized():
    # Another form for rows that a recipe above reads, or a prompt of its own.
    others = {"guanaco", "oasst1", "hh_rlhf", "metamathqa"}
    single = {name for name in WITH_RECIPE if not name.endswith("chat")}
    assert single - others - {"messages", "sharegpt", "auto", "text"} <= set(ROWS)


def test_a_tree_of_messages_is_recognized():
    row = {"prompt": {"role": "prompter", "text": "a", "replies": []}}
    assert auto([row]).recipe == "oasst1_chat"


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([{"messages": CHAT, "conversations": CHAT}], "row 1 fits messages and sharegpt"),
        (
            [{"messages": CHAT, "prompt": "a", "response": "b"}],
            "row 1 fits messages and prompt_response",
        ),
        (
            [TASK, {**TASK, "history": [["a", "b"]]}],
            "row 1 fits alpaca, but row 2 fits alpaca_chat",
        ),
        ([{"a": 1, "b": 2}], "row 1 fits no recipe. Its columns are a, b"),
        ([{}], "row 1 fits no recipe. Its columns are none"),
        ([{"messages": '[{"role": "user"}]'}], "row 1 fits no recipe. Its columns are messages"),
        (
            [{"messages": CHAT, "label": False}],
            "column 'label' of row 1 marks an answer as good or bad, which no recipe reads",
        ),
        (
            [{"message_id": "a", "parent_id": None, "role": "prompter", "text": "b"}],
            "row 1 is one message of a tree. The recipe oasst1_chat joins such rows",
        ),
    ],
)
def test_what_is_ambiguous_is_refused_in_one_line_with_the_candidates(rows, why):
    with pytest.raises(DataError) as error:
        auto(rows)
    assert str(error.value) == f"data.recipe=auto: {why}. Choose one with data.recipe=NAME."


def test_only_the_first_rows_are_read():
    rows = ({"messages": CHAT} for _ in range(10**9))
    assert auto(rows).recipe == "messages"


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="there are none"):
        auto([])
