"""Rows of messages, and of texts with turns, become conversations."""

import json

import pytest

from anima_exp.data import readers
from anima_exp.data.chat import rows, texts
from anima_exp.data.chat.conversation import Conversation, Message, ToolCall
from anima_exp.data.example import TrackedRow
from anima_exp.errors import DataError

ASK = {"role": "user", "content": "2+2?"}
ANSWER = {"role": "assistant", "content": "4"}
PAIR = (Message("user", "2+2?"), Message("assistant", "4"))
ADD = {"name": "add", "parameters": {"type": "object", "properties": {}}}
CALL = ToolCall("add", {"a": 2})


def of_messages(*entries, **columns):
    return rows.messages({"messages": list(entries), **columns})


def answer(**fields):
    """Return the assistant's message of these fields."""
    return of_messages(ASK, {"role": "assistant", **fields}).messages[1]


def test_role_and_content_become_a_message_each():
    assert of_messages(ASK, ANSWER) == Conversation(PAIR)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text", "text": "2+"}, {"type": "text", "text": "2?"}],
        [{"type": "text", "value": "2+2?"}],
        ["2+2?"],
    ],
)
def test_the_text_parts_of_a_content_are_joined(content):
    assert of_messages({"role": "user", "content": content}, ANSWER).messages == PAIR


def test_a_message_keeps_its_number_in_the_row():
    row = {"conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]}
    found = rows.sharegpt({**row, "system": "Add."})
    assert [message.number for message in found.messages] == [0, 1, 2]


@pytest.mark.parametrize(
    ("names", "role"),
    [
        (("human", "User", "prompter"), "user"),
        (("gpt", "assistant", "model", "bot", "chatgpt"), "assistant"),
        (("tool", "observation", "function_response", "function", "ipython"), "tool"),
        (("system", "developer"), "system"),
    ],
)
def test_the_common_names_of_a_role_are_read(names, role):
    for name in names:
        row = {"conversations": [{"from": name, "value": "x"}]}
        assert rows.sharegpt(row).messages == (Message(role, "x"),)


@pytest.mark.parametrize("column", ["system", "system_prompt"])
def test_a_system_column_is_the_first_message(column):
    found = of_messages(ASK, ANSWER, **{column: "Add."})
    assert found.messages == (Message("system", "Add."), *PAIR)
    assert of_messages(ASK, ANSWER, **{column: ""}).messages == PAIR
    system = {"role": "system", "content": "Add."}
    assert of_messages(system, ASK, ANSWER, **{column: "Add."}) == found


@pytest.mark.parametrize("arguments", [{"a": 2}, '{"a": 2}'])
@pytest.mark.parametrize("wrapped", [True, False])
def test_tool_calls_have_their_arguments_as_an_object_or_as_json(arguments, wrapped):
    call = {"name": "add", "arguments": arguments}
    if wrapped:
        call = {"type": "function", "id": "c1", "function": call}
    found = answer(content=None, tool_calls=[call])
    assert found.tool_calls == (ToolCall("add", {"a": 2}, "c1" if wrapped else None),)
    assert found.content == ""
    assert answer(content="", tool_calls=json.dumps([call])) == found


def test_a_call_without_arguments_has_an_empty_object():
    assert answer(tool_calls=[{"name": "now"}]).tool_calls == (ToolCall("now"),)


def test_the_older_function_call_is_a_tool_call():
    assert answer(function_call={"name": "add", "arguments": '{"a": 2}'}).tool_calls == (CALL,)


def test_a_tool_result_keeps_the_name_and_the_id_of_its_call():
    result = {"role": "tool", "content": "4", "name": "add", "tool_call_id": "c1"}
    assert of_messages(result).messages == (Message("tool", "4", name="add", tool_call_id="c1"),)


@pytest.mark.parametrize(
    "tools",
    [
        [ADD],
        json.dumps([ADD]),
        [json.dumps(ADD)],
        [{"type": "function", "function": ADD}],
        json.dumps([{"type": "function", "function": ADD}]),
    ],
)
def test_tools_are_a_list_or_json_with_or_without_their_type(tools):
    assert of_messages(ASK, ANSWER, tools=tools).tools == ({"type": "function", "function": ADD},)


@pytest.mark.parametrize("tools", [None, "", "[]", []])
def test_a_row_may_have_no_tools(tools):
    assert of_messages(ASK, ANSWER, tools=tools).tools == ()


@pytest.mark.parametrize("field", ["train", "weight", "loss_weight"])
@pytest.mark.parametrize(("value", "train"), [(1.0, True), (0, False), (True, True), (None, None)])
def test_a_message_may_say_whether_to_train_on_it(field, value, train):
    assert answer(content="4", **{field: value}).train is train


@pytest.mark.parametrize("field", ["reasoning_content", "thinking", "reasoning"])
def test_a_field_of_thinking_is_the_thinking(field):
    assert answer(content="4", **{field: "Two twos."}).thinking == "Two twos."
    assert answer(content="4", **{field: ""}).thinking is None


@pytest.mark.parametrize(
    ("text", "thinking", "content"),
    [
        ("<think>\nTwo twos.\n</think>\n\n4", "Two twos.", "4"),
        ("\n<think>Two twos.</think>4", "Two twos.", "4"),
        ("<think>\n\n</think>\n\n4", "", "4"),
        ("<think>a</think>Write </think>.", "a", "Write </think>."),
        ("Write <think>a</think>.", None, "Write <think>a</think>."),
    ],
)
def test_thinking_at_the_start_of_an_answer_is_split_off(text, thinking, content):
    found = answer(content=text)
    assert (found.thinking, found.content) == (thinking, content)


def test_thinking_in_a_users_text_stays():
    text = "<think>a</think>b"
    assert of_messages({"role": "user", "content": text}).messages == (Message("user", text),)


def test_parts_of_reasoning_and_calls_are_thinking_and_calls():
    value = json.dumps({"name": "add", "arguments": {"a": 2}})
    parts = [("reasoning", "Two twos."), ("text", "I add."), ("tool_call", value)]
    found = answer(content=[{"type": kind, "value": value} for kind, value in parts])
    assert found == Message("assistant", "I add.", thinking="Two twos.", tool_calls=(CALL,))


def test_a_function_call_of_sharegpt_belongs_to_the_turn_before_it():
    call = {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 2}}'}
    ask, say = {"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "I add."}
    result = {"from": "observation", "value": "4"}

    def turns(*entries):
        return rows.sharegpt({"conversations": list(entries)}).messages

    assert turns(ask, call)[1] == Message("assistant", tool_calls=(CALL,))
    assert turns(ask, say, call)[1] == Message("assistant", "I add.", tool_calls=(CALL,))
    assert turns(ask, call, call)[1].tool_calls == (CALL, CALL)
    found = turns(ask, call, call, result)
    assert [message.number for message in found] == [1, 2, 4]


def test_the_chosen_answer_of_a_preference_is_the_last_turn():
    row = TrackedRow(
        {
            "conversations": [{"from": "human", "value": "2+2?"}],
            "chosen": {"from": "gpt", "value": "4"},
            "rejected": {"from": "gpt", "value": "5"},
        }
    )
    unread: dict[str, int] = {}
    assert rows.sharegpt(row).messages == PAIR
    row.count_unread(unread)
    assert unread == {"rejected": 1}


@pytest.mark.parametrize("completion", [[ANSWER], "4"])
def test_the_completion_is_trained_on_and_the_prompt_is_not(completion):
    prompt = [ASK, ANSWER, ASK]
    found = rows.prompt_completion_chat({"prompt": prompt, "completion": completion})
    assert [message.train for message in found.messages] == [False, False, False, True]
    assert found.messages[3] == Message("assistant", "4", train=True)
    assert found.messages[3].number == 4


def test_history_comes_before_the_instruction():
    row = {"instruction": "Add.", "input": "2, 2", "output": "<think>a</think>4"}
    found = texts.alpaca_chat({**row, "history": [["2+2?", "4"]], "system": "Be short."})
    assert found.messages == (
        Message("system", "Be short."),
        *PAIR,
        Message("user", "Add.\n2, 2"),
        Message("assistant", "4", thinking="a"),
    )
    assert len(texts.alpaca_chat({**row, "history": None}).messages) == 2


@pytest.mark.parametrize(
    ("recipe", "row"),
    [
        (texts.oasst1_chat, {"text": "### Human: 2+2?### Assistant: 4"}),
        (texts.oasst1_chat, {"text": "### Human: 2+2?\n### Assistant: 4\n"}),
        (texts.hh_rlhf_chat, {"chosen": "\n\nHuman: 2+2?\n\nAssistant: 4"}),
        (texts.belle_chat, {"instruction": "Human:2+2?\nAssistant:", "output": "4"}),
        (texts.belle_chat, {"instruction": "Human:2+2?", "output": "4", "input": ""}),
    ],
)
def test_the_turns_of_a_text_are_messages(recipe, row):
    assert recipe(row) == Conversation(PAIR)


def test_only_the_marks_of_the_format_begin_a_turn():
    text = "### Human: 2+2?### Assistant: 4\n### Note\nHuman: I count."
    assert texts.oasst1_chat({"text": text}).messages[1].content == ("4\n### Note\nHuman: I count.")
    chosen = "\n\nHuman: 2+2?\n\nAssistant: Human: 4"
    assert texts.hh_rlhf_chat({"chosen": chosen}).messages[1].content == "Human: 4"
    asked = "Human:2+2?\nAssistant:4\nHuman:A line\nwith Assistant: in it?\nAssistant:"
    found = texts.belle_chat({"instruction": asked, "output": "4"}).messages
    assert [message.role for message in found] == ["user", "assistant", "user", "assistant"]


def oasst1_messages():
    rows = [
        ("a", None, "prompter", "2+2?", None),
        ("b", "a", "assistant", "5", 1),
        ("c", "a", "assistant", "4", 0),
        ("d", "a", "assistant", "22", None),
        ("e", "c", "prompter", "Why?", None),
        ("f", "lost", "assistant", "No.", 0),
        ("g", "f", "prompter", "Oh.", None),
    ]
    names = ("message_id", "parent_id", "role", "text", "rank")
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_the_path_of_the_best_replies_of_a_tree_is_its_conversation():
    trees, left_over = texts.oasst1_trees(oasst1_messages())
    assert [texts.oasst1_chat(tree) for tree in trees] == [Conversation(PAIR)]
    assert left_over == 2


def test_a_deleted_reply_is_not_taken():
    rows = [row | {"deleted": row["message_id"] == "c"} for row in oasst1_messages()]
    trees, _ = texts.oasst1_trees(rows)
    assert texts.oasst1_chat(trees[0]).messages[1].content == "5"


def test_one_message_of_a_tree_is_refused():
    with pytest.raises(DataError, match=r"one message of a tree.*file of trees$"):
        texts.oasst1_chat(oasst1_messages()[0])


def test_a_second_message_of_the_same_id_is_refused():
    row = oasst1_messages()[0]
    with pytest.raises(DataError, match=r"^two messages have the message_id 'a'$"):
        texts.oasst1_trees([row, row])
    with pytest.raises(DataError, match=r"^no column 'message_id'"):
        texts.oasst1_trees([{"text": "a"}])


@pytest.mark.parametrize("kind", ["json", "jsonl", "parquet"])
def test_nested_columns_of_every_kind_of_file_are_the_same_conversation(kind, tmp_path):
    call = {"name": "add", "arguments": '{"a": 2}'}
    entries = [
        ASK,
        {"role": "assistant", "tool_calls": [{"id": "c1", "function": call}]},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
        {"role": "assistant", "content": [{"type": "text", "text": "4"}], "train": True},
    ]
    if kind == "parquet":  # a column of parquet has one type, and null where a field is missing
        entries[3] = {**entries[3], "content": "4"}
    row = {"messages": entries, "tools": [ADD]}
    path = tmp_path / f"chat.{kind}"
    if kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        row["tools"] = [json.dumps(ADD)]
        parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    else:
        path.write_text(json.dumps([row] if kind == "json" else row), encoding="utf-8")
    ((_, read),) = readers.rows(path)
    assert rows.messages(read) == Conversation(
        (
            PAIR[0],
            Message("assistant", tool_calls=(ToolCall("add", {"a": 2}, "c1"),)),
            Message("tool", "4", tool_call_id="c1"),
            Message("assistant", "4", train=True),
        ),
        ({"type": "function", "function": ADD},),
    )
