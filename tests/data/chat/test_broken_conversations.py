"""A broken conversation is one line with its file, row and message: in a dry run and in training.

The checks before training read no tokenizer. What only the chat template knows is found when the
rows are tokenized, with the same words.
"""

import contextlib
import json

import pytest
from support.byte_tokenizer import write_rows
from support.chat_rows import chat_config, row
from support.chat_tokenizers import chat_tokenizer

from anima_exp.data import apply_recipe
from anima_exp.data.dataset import prepare
from anima_exp.errors import DataError

USER, ANSWER = {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}
CALL = {"role": "assistant", "tool_calls": [{"id": "c1", "name": "add", "arguments": "{}"}]}
TOO_DEEP = '{"messages": ' + "[" * 10_000 + "]" * 10_000 + "}"


def says(role, content, **more):
    return {"role": role, "content": content, **more}


def calls(arguments):
    return {"role": "assistant", "tool_calls": [{"name": "add", "arguments": arguments}]}


# What is wrong: the row, or its messages, and the error.
BROKEN = {
    "an assistant's turn first": (
        [ANSWER, USER, ANSWER],
        "message 1 (assistant): the assistant's turn is before the first user's turn",
    ),
    "an empty turn": (
        [USER, ANSWER, says("user", ""), ANSWER],
        "message 3 (user): the turn is empty",
    ),
    "an answer of spaces": (
        [USER, says("assistant", " \n")],
        "message 2 (assistant): the turn is empty",
    ),
    "content that is null": ([says("user", None), ANSWER], "message 1 (user): the turn is empty"),
    "an empty system prompt": (
        [says("system", ""), USER, ANSWER],
        "message 1 (system): the turn is empty",
    ),
    "an unknown role": (
        [USER, says("narrator", "x"), ANSWER],
        "message 2 (narrator): unknown role. The known roles are system, user, assistant, tool",
    ),
    "a role that is a number": (
        [says(1, "x"), ANSWER],
        "message 1 (no role): its field 'role' or 'from' is not text",
    ),
    "no role": (
        [{"content": "x"}, ANSWER],
        "message 1 (no role): its field 'role' or 'from' is not text",
    ),
    "a tool result without a call": (
        [USER, says("tool", "4"), ANSWER],
        "message 2 (tool): a tool result without a call",
    ),
    "a tool result for another call": (
        [USER, CALL, says("tool", "4", tool_call_id="c2"), ANSWER],
        "message 3 (tool): a tool result for the call 'c2', which the turn before it does not make",
    ),
    "two results of one call": (
        [USER, CALL, says("tool", "4"), says("tool", "5"), ANSWER],
        "message 4 (tool): a tool result without a call",
    ),
    "content that is a number": (
        [USER, says("assistant", 4)],
        "message 2 (assistant): its content is a number, not text",
    ),
    "content that is an object": (
        [says("user", {"text": "2+2?"}), ANSWER],
        "message 1 (user): its content is an object, not text",
    ),
    "an image": (
        [says("user", [{"type": "text", "text": "a"}, {"type": "image", "image": "b"}]), ANSWER],
        "message 1 (user): a part of type 'image'. Only text, reasoning and tool_call are read",
    ),
    "half a training flag": (
        [USER, says("assistant", "4", train=0.5)],
        "message 2 (assistant): train is 0.5. Use 0 or 1",
    ),
    "two training flags that differ": (
        [USER, says("assistant", "4", train=True, weight=0)],
        "message 2 (assistant): the fields train and weight differ",
    ),
    "tool arguments that are not JSON": (
        [USER, calls('{"a": two}')],
        "message 2 (assistant): the arguments of 'add' are not JSON (Expecting value: line 1 "
        "column 7 (char 6))",
    ),
    "tool arguments that are a list": (
        [USER, calls([2, 2])],
        "message 2 (assistant): the arguments of 'add' are a list, not an object",
    ),
    "a tool call without a name": (
        [USER, {"role": "assistant", "tool_calls": [{"arguments": {}}]}],
        "message 2 (assistant): a tool call without the name of its tool",
    ),
    "no assistant": (
        [USER, USER],
        "no message is the assistant's, so nothing can be learned from the conversation",
    ),
    "half a character": (
        json.dumps({"messages": [USER, says("assistant", "\ud83d")]}),
        "message 2 (assistant): it contains half a character (a lone surrogate)",
    ),
    "thinking without an end": (
        [USER, says("assistant", "<think>Two twos")],
        "message 2 (assistant): it begins with <think> but has no </think>",
    ),
    "thinking without an answer": (
        [USER, says("assistant", "<think>Two twos</think>")],
        "message 2 (assistant): it has thinking but no answer",
    ),
    "thinking of a user": (
        [says("user", "2+2?", thinking="a"), ANSWER],
        "message 1 (user): only the assistant can have thinking",
    ),
    "a message that is a text": ([USER, "4"], "message 2 is text, not an object"),
    "a message that is null": ([None, ANSWER], "message 1 is null, not an object"),
    "no messages": ([], "the conversation has no messages"),
    "messages that are a text": (
        {"messages": '[{"role": "user"}]'},
        "column 'messages' is text, not a list of messages",
    ),
    "messages that are an object": (
        {"messages": {"user": "2+2?"}},
        "column 'messages' is an object, not a list of messages",
    ),
    "another column": (
        {"conversation": [USER, ANSWER]},
        "no column 'messages', which data.recipe reads; the row has conversation",
    ),
    "tools that are not JSON": (
        {"messages": [USER, ANSWER], "tools": "add(a, b)"},
        "column 'tools' is not JSON (Expecting value: line 1 column 1 (char 0))",
    ),
    "a tool without a name": (
        {"messages": [USER, ANSWER], "tools": [{"parameters": {}}]},
        "column 'tools' has a tool without a name",
    ),
    "a system prompt twice": (
        {"messages": [says("system", "A"), USER, ANSWER], "system": "B"},
        "message 1 (system): the row has a column 'system' too",
    ),
    "a row that is a list": ("[1, 2]", "it is one list, not an object with named columns"),
    "broken JSON": ('{"messages": [', "broken JSON: Expecting value at column 15"),
    "JSON that is nested too deeply": (TOO_DEEP, "broken JSON: values that are nested too deeply"),
}
ADVICE = "Use data.on_bad_row=skip to leave out and count such rows."


def given(broken):
    return {"messages": broken} if isinstance(broken, list) else broken


@pytest.fixture
def errors(tmp_path):
    def _errors(*rows, **settings):
        """The error of the checks before training, and that of training."""
        config = chat_config(
            write_rows(tmp_path / "chats.jsonl", *rows), **({"template": "chatml"} | settings)
        )
        found = []
        for read in (
            lambda: apply_recipe.check_rows(config),
            lambda: prepare(config, chat_tokenizer("bytes"), cache=tmp_path / "cache"),
        ):
            with contextlib.suppress(DataError):
                read()
                found.append(None)
                continue
            with pytest.raises(DataError) as error:
                read()
            assert str(error.value).isprintable()  # one line, which every terminal can show
            found.append(str(error.value))
        return found

    return _errors


def test_there_are_more_than_twenty():
    assert len(BROKEN) > 20


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_conversation_is_named_before_training_and_in_it(errors, tmp_path, name):
    broken, line = BROKEN[name]
    wanted = f"{tmp_path / 'chats.jsonl'}, line 2: {line}. {ADVICE}"
    assert errors(row("q", "a"), given(broken)) == [wanted, wanted]
    assert errors(row("q", "a"), given(broken), on_bad_row="skip") == [None, None]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_first_row_says_whether_the_recipe_fits_the_others(errors, name):
    broken, line = BROKEN[name]
    for found in errors(given(broken), row("q", "a")):
        assert f"line 1: {line}. {ADVICE}" in found
    for found in errors(given(broken), given(broken)):
        assert f"line 1: {line}. The next rows cannot be used either. Check that" in found


@pytest.mark.parametrize("template", ["mistral", "gemma"])
@pytest.mark.parametrize(
    ("messages", "number", "role"),
    [([USER, USER, ANSWER], 2, "user"), ([USER, ANSWER, ANSWER], 3, "assistant")],
)
def test_two_turns_in_a_row_are_named_where_the_template_refuses_them(
    errors, tmp_path, template, messages, number, role
):
    line = (
        f"{tmp_path / 'chats.jsonl'}, line 2: message {number} ({role}): two turns of the {role} "
        f"in a row, which the template forbids. {ADVICE}"
    )
    rows = [row("q", "a"), {"messages": messages}]
    assert errors(*rows, template=template) == [line, line]
    assert errors(*rows, template="chatml") == [None, None]


def test_a_file_of_a_template_that_refuses_two_turns_is_found_in_training(errors, tmp_path):
    """Before training no template is rendered."""
    strict = tmp_path / "strict.jinja"
    strict.write_text(
        "{% for m in messages %}{% if loop.index0 and m.role == messages[loop.index0 - 1].role "
        "and m.role == 'user' %}{{ raise_exception('Alternate!') }}{% endif %}"
        "{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    rows = [row("q", "a"), {"messages": [USER, ANSWER, USER, USER, ANSWER]}]
    before, training = errors(*rows, template=str(strict))
    assert before is None
    assert (
        "line 2: message 4 (user): two turns of the user in a row, which the template" in training
    )
    twice = [row("q", "a"), {"messages": [USER, ANSWER, ANSWER]}]
    assert errors(*twice, template=str(strict)) == [None, None]


def test_what_only_a_setting_refuses_is_found_in_training(errors, tmp_path):
    where = f"{tmp_path / 'chats.jsonl'}, line 2: "
    for messages, settings, line in (
        (
            [says("user", "<|im_end|>"), ANSWER],
            {"special_tokens_in_text": "error"},
            "message 1 (user): it contains the control token <|im_end|> as text",
        ),
        (
            [says("user", "2+2?", train=True), ANSWER],
            {"train_on": "message"},
            "message 1 is to be trained on, but its role is user; data.train_on=message trains on "
            "assistant messages only",
        ),
    ):
        found = errors(row("q", "a"), {"messages": messages}, **settings)
        assert found == [None, f"{where}{line}. {ADVICE}"]


def test_rows_of_one_message_each_are_read_before_training_as_in_it(errors, tmp_path):
    good = [
        {"message_id": "a", "parent_id": None, "role": "prompter", "text": "q"},
        {"message_id": "b", "parent_id": "a", "role": "assistant", "text": "a"},
    ]
    assert errors(*good, recipe="oasst1_chat") == [None, None]
    alone = {"message_id": "c", "parent_id": None, "role": "prompter", "text": "q"}
    line = f"{tmp_path / 'chats.jsonl'}, line 3: the conversation has no messages. {ADVICE}"
    assert errors(*good, alone, recipe="oasst1_chat") == [line, line]


def test_auto_refuses_before_training_what_it_refuses_in_it(errors, tmp_path):
    path = tmp_path / "chats.jsonl"
    mixed = [row("q", "a"), {"prompt": "q", "response": "a"}]
    line = (
        f"data.recipe=auto: {path}, line 1 fits messages, but {path}, line 2 fits prompt_response. "
        "Choose one with data.recipe=NAME."
    )
    assert errors(*mixed, recipe="auto") == [line, line]
    broken = f"{path}, line 2: message 1 (user): the turn is empty. {ADVICE}"
    assert errors(row("q", "a"), row("", "a"), recipe="auto") == [broken, broken]
