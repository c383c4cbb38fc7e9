"""A conversation that cannot be trained on is one line that names the message."""

import pytest

from anima_exp.data.chat import rows, texts
from anima_exp.data.chat.conversation import Conversation, Message, ToolCall
from anima_exp.data.chat.rules import check, message_error
from anima_exp.errors import DataError

USER, ANSWER = ("user", "2+2?"), ("assistant", "4")
ADD = {"name": "add", "arguments": {}}
CALL = {"role": "assistant", "tool_calls": [{"id": "c1", "function": ADD}]}


def read(*entries, alternate=(), **columns):
    """Read and check messages: pairs of role and content, or objects."""
    pairs = [
        {"role": entry[0], "content": entry[1]} if isinstance(entry, tuple) else entry
        for entry in entries
    ]
    found = rows.messages({"messages": pairs, **columns})
    check(found, alternate=alternate)
    return found


BROKEN = {
    "message 1 (narrator): unknown role. The known roles are system, user, assistant, tool": [
        ("narrator", "x"),
        ANSWER,
    ],
    "message 1 (no role): its field 'role' or 'from' is not text": [{"content": "x"}],
    "message 2 is text, not an object": [USER, "4"],
    "message 1 (user): the turn is empty": [("user", " \n"), ANSWER],
    "message 2 (assistant): the turn is empty": [USER, ("assistant", None)],
    "message 2 (assistant): it has thinking but no answer": [
        USER,
        ("assistant", "<think>a</think>"),
    ],
    "message 2 (assistant): it begins with <think> but has no </think>": [
        USER,
        ("assistant", "<think>Two twos"),
    ],
    "message 2 (assistant): it has </think> but no <think> before it": [
        USER,
        ("assistant", "Two twos.</think>4"),
    ],
    "message 2 (assistant): its thinking is given twice": [
        USER,
        {"role": "assistant", "content": "<think>a</think>4", "thinking": "b"},
    ],
    "message 1 (user): only the assistant can have thinking": [
        {"role": "user", "content": "2+2?", "thinking": "a"},
        ANSWER,
    ],
    "message 1 (assistant): the assistant's turn is before the first user's turn": [ANSWER, USER],
    "no message is the assistant's, so nothing can be learned from the conversation": [USER],
    "the conversation has no messages": [],
    "message 2 (tool): a tool result without a call": [USER, ("tool", "4"), ANSWER],
    "message 4 (tool): a tool result without a call": [USER, CALL, ("tool", "4"), ("tool", "4")],
    "message 3 (tool): a tool result for the call 'c2', which the turn before it does not make": [
        USER,
        CALL,
        {"role": "tool", "content": "4", "tool_call_id": "c2"},
    ],
    "message 2 (assistant): the arguments of 'add' are not JSON (Expecting value: line 1 column 7 "
    "(char 6))": [
        USER,
        {"role": "assistant", "tool_calls": [{"name": "add", "arguments": '{"a": two}'}]},
    ],
    "message 2 (assistant): the arguments of 'add' are not JSON (NaN is not JSON)": [
        USER,
        {"role": "assistant", "tool_calls": [{"name": "add", "arguments": '{"a": NaN}'}]},
    ],
    "message 2 (assistant): the arguments of 'add' are a list, not an object": [
        USER,
        {"role": "assistant", "tool_calls": [{"name": "add", "arguments": [2]}]},
    ],
    "message 2 (function_call): the tool call is not JSON (Expecting value: line 1 column 1 "
    "(char 0))": [USER, ("function_call", "add(2, 2)")],
    "message 2 (assistant): a tool call without the name of its tool": [
        USER,
        {"role": "assistant", "tool_calls": [{"arguments": {}}]},
    ],
    "message 1 (user): only the assistant can have tool calls": [CALL | {"role": "user"}, ANSWER],
    "message 1 (user): it contains half a character (a lone surrogate)": [
        ("user", "\ud83d"),
        ANSWER,
    ],
    "message 2 (assistant): it contains half a character (a lone surrogate)": [
        USER,
        {"role": "assistant", "tool_calls": [{"name": "add", "arguments": {"a": "\ud83d"}}]},
    ],
    "message 1 (user): a part of type 'image_url'. Only text, reasoning and tool_call are read": [
        ("user", [{"type": "image_url", "image_url": "a.png"}]),
        ANSWER,
    ],
    "message 2 (assistant): a part of type 'reasoning' is after its text": [
        USER,
        ("assistant", [{"type": "text", "text": "4"}, {"type": "reasoning", "value": "a"}]),
    ],
    "message 1 (user): its content is a number, not text": [("user", 4), ANSWER],
    "message 2 (assistant): weight is 0.5. Use 0 or 1": [
        USER,
        {"role": "assistant", "content": "4", "weight": 0.5},
    ],
    "message 2 (assistant): the fields train and weight differ": [
        USER,
        {"role": "assistant", "content": "4", "weight": 0, "train": True},
    ],
    "message 2 (assistant): its field 'refusal' cannot be read": [
        USER,
        {"role": "assistant", "content": "4", "refusal": "No."},
    ],
    "message 2 (assistant): its tool calls are given twice": [
        USER,
        {"role": "assistant", "tool_calls": [ADD], "function_call": ADD},
    ],
    "message 3 (assistant): its call belongs to the turn before it, of which the training flag "
    "differs": [
        USER,
        {"role": "assistant", "content": "I add.", "train": False},
        {"role": "assistant", "tool_calls": [ADD], "train": True},
    ],
    "message 2 (assistant): the thinking is a list, not text": [
        USER,
        {"role": "assistant", "content": "4", "thinking": ["a"]},
    ],
    "message 2 (assistant): a part of type 'text' is null": [
        USER,
        ("assistant", [{"type": "text", "text": None}]),
    ],
    "message 3 (tool): tool_call_id is an object, not text": [
        USER,
        CALL,
        {"role": "tool", "content": "4", "tool_call_id": {}},
    ],
    "message 2 (function_call): the tool call is not JSON (it is nested too deeply)": [
        USER,
        ("function_call", "[" * 10**5),
    ],
    "message 1 (user): it has both 'content' and 'value'": [
        {"role": "user", "content": "a", "value": "b"},
        ANSWER,
    ],
    "message 1 (\\ud83d): unknown role. The known roles are system, user, assistant, tool": [
        ("\ud83d", "x")
    ],
}


@pytest.mark.parametrize(("line", "entries"), BROKEN.items())
def test_a_broken_conversation_is_one_line_that_names_the_message(line, entries):
    with pytest.raises(DataError) as error:
        read(*entries)
    assert str(error.value) == line
    assert line.isprintable()


@pytest.mark.parametrize("entry", [USER, ANSWER])
def test_two_turns_in_a_row_are_refused_only_where_the_template_forbids_them(entry):
    entries = (USER, ANSWER, USER, ANSWER) if entry == USER else (USER, ANSWER)
    position = entries.index(entry) + 1
    twice = [*entries[:position], entry, *entries[position:]]
    assert len(read(*twice).messages) == len(twice)
    line = rf"^message {position + 1} \({entry[0]}\): two turns of the {entry[0]} in a row"
    with pytest.raises(DataError, match=line):
        read(*twice, alternate=("user", "assistant"))


def test_a_call_its_results_and_the_answer_alternate():
    two = CALL | {"tool_calls": [{"id": "c1", "function": ADD}, {"id": "c2", "function": ADD}]}
    results = [{"role": "tool", "content": "", "tool_call_id": id_} for id_ in ("c2", "c1")]
    found = read(("system", "Add."), USER, two, *results, ANSWER, alternate=("user", "assistant"))
    assert len(found.messages) == 6  # a result may be empty, and come in another order


def test_an_assistants_first_turn_can_be_allowed():
    found = rows.messages({"messages": [{"role": "assistant", "content": "Hello!"}]})
    check(found, assistant_first=True)
    with pytest.raises(DataError, match="before the first user's turn"):
        check(found)


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"tools": "[{"}, "column 'tools' is not JSON (Expecting property name enclosed in double"),
        ({"tools": [{"type": "function"}]}, "column 'tools' has a tool without a name"),
        ({"tools": [{"name": "\ud83d"}]}, "the tools contain half a character"),
        ({"system": 7}, "column 'system' is a number, not text"),
        ({"system": "\ud83d"}, "the system prompt of the row: it contains half a character"),
        ({"system": "a", "system_prompt": "b"}, "the columns 'system' and 'system_prompt' differ"),
    ],
)
def test_a_broken_column_beside_the_messages_is_named(columns, line):
    with pytest.raises(DataError) as error:
        read(USER, ANSWER, **columns)
    assert str(error.value).startswith(line)


def test_two_system_prompts_are_refused():
    with pytest.raises(
        DataError, match=r"^message 1 \(system\): the row has a column 'system' too"
    ):
        read(("system", "a"), USER, ANSWER, system="b")


@pytest.mark.parametrize(
    ("recipe", "row", "line"),
    [
        (rows.messages, {"text": "a"}, "no column 'messages', which data.recipe reads"),
        (
            rows.messages,
            {"messages": "a"},
            "column 'messages' is text, not a list of messages",
        ),
        (
            rows.prompt_completion_chat,
            {"prompt": "2+2?", "completion": [{"role": "user", "content": "a"}]},
            "message 2 (user): it is in the column 'completion'",
        ),
        (texts.alpaca_chat, {"instruction": "a"}, "no column 'output'"),
        (
            texts.alpaca_chat,
            {"instruction": "a", "output": ["b", "c"]},
            "column 'output' is a list, not text",
        ),
        (
            texts.alpaca_chat,
            {"history": [["a", "b"], ["c"]], "instruction": "a", "output": "b"},
            "item 2 of column 'history' is not a pair of texts",
        ),
        (texts.alpaca_chat, {"history": "a"}, "column 'history' is text, not a list of pairs"),
        (
            texts.oasst1_chat,
            {"prompt": {"role": "prompter", "text": 1}},
            "message 1 (prompter): its text is a number",
        ),
        (
            rows.sharegpt,
            {"conversations": [], "chosen": "a"},
            "message 1 is text, not an object",
        ),
        (texts.oasst1_chat, {"text": "Hi"}, "column 'text' has no turn 'Human:'"),
        (
            texts.hh_rlhf_chat,
            {"chosen": "Hi\n\nHuman: a"},
            "column 'chosen' has text before its first turn",
        ),
        (
            texts.belle_chat,
            {"instruction": "Human:a\nAssistant:b", "output": "c"},
            "message 2 (assistant): column 'instruction' has the answer already",
        ),
        (
            texts.belle_chat,
            {"instruction": "Human:a\nAssistant:", "input": "b", "output": "c"},
            "column 'input' is not empty",
        ),
        (
            texts.oasst1_chat,
            {"prompt": {"role": "prompter", "text": "a", "replies": [{"role": "x", "text": "b"}]}},
            "message 2 (x): unknown role",
        ),
    ],
)
def test_a_row_that_a_recipe_cannot_read_is_named(recipe, row, line):
    with pytest.raises(DataError) as error:
        recipe(row)
    assert str(error.value).startswith(line)


def test_the_messages_of_a_users_recipe_are_checked_too():
    for message in (
        Message("narrator", "x"),
        Message("assistant", tool_calls=(ToolCall("a", []),)),
    ):
        with pytest.raises(DataError, match=r"unknown role|are not an object"):
            check(Conversation((Message("user", "x"), message)))


def test_a_long_role_is_cut_in_the_message():
    assert str(message_error(1, "x" * 99, "a")) == f"message 1 ({'x' * 37}...): a"
