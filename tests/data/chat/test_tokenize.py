"""Conversations are tokenized once, in the order of their rows, with any number of processes."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.chat_rows import FORGETS, chat_file, chats, decoded, masks_of, row

from anima_exp.config import TooLong
from anima_exp.data import source
from anima_exp.data.chat import tokenize
from anima_exp.data.chat.templates import ChatTemplate
from anima_exp.errors import DataError
from anima_exp.system import forked

pytestmark = pytest.mark.usefixtures("shown")
BAD = row("", "A.")


@pytest.fixture
def tokens_of(tmp_path):
    def _tokens_of(*rows, template="chatml", cache="cache", **settings):
        config = chat_file(tmp_path, *rows, **settings)
        main = source.training_source(config)
        return tokenize.tokenize(main, config, masks_of(config, template), cache=tmp_path / cache)

    return _tokens_of


def answers(tokens):
    """For each row the trained texts."""
    return [
        [decoded(tokens.row(n)[one.start : one.end]) for one in tokens.segments(n) if one.turn]
        for n in range(len(tokens))
    ]


def refusal(call, *arguments, **settings):
    with pytest.raises(DataError) as error:
        call(*arguments, **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def same(one, other):
    assert one.ids.tolist() == other.ids.tolist()
    assert one.rows.tolist() == other.rows.tolist()
    assert [one.segments(n) for n in range(len(one))] == [
        other.segments(n) for n in range(len(other))
    ]
    assert one.meta == other.meta


def test_forked_processes_make_the_same_set_as_one(tokens_of, monkeypatch):
    """In the same order, with the same counts, bad rows included."""
    rows = [*chats(40), BAD, "no json", row("q", "a" * 900), *chats(30)]
    settings = {"on_bad_row": "skip", "max_tokens": 100, "template": FORGETS}
    monkeypatch.setattr(tokenize, "_CHUNK", 4)
    alone = tokens_of(*rows, **settings)
    monkeypatch.setattr(tokenize, "_ROWS_OF_ONE_PROCESS", 8)
    monkeypatch.setattr(forked, "workers", lambda: 3)
    results = tokenize._Work.results

    def noting(work, chunk):
        found = results(work, chunk)
        for one in found:
            one.counts[f"process {os.getpid()}"] += 1
        return found

    same(alone, tokens_of(*rows, cache="forked", **settings))
    assert alone.meta.skipped == 2
    assert alone.meta.chat["dropped"] == 1
    assert alone.meta.chat["conversations"] == 71
    monkeypatch.setattr(tokenize._Work, "results", noting)
    counts = tokens_of(*rows, cache="noted", **settings).meta.chat
    processes = {name: rows for name, rows in counts.items() if name.startswith("process")}
    assert processes.pop(f"process {os.getpid()}") == 8  # then the others read all the rest
    assert processes and sum(processes.values()) == len(rows) - 8 - 2  # bad ones


def test_a_second_start_reads_no_row(tokens_of, monkeypatch):
    first = tokens_of(*chats(3))
    monkeypatch.setattr(tokenize, "_build", None)
    same(first, tokens_of(*chats(3)))


def test_a_bad_row_is_named_with_its_file_line_and_message(tokens_of, tmp_path):
    path = tmp_path / "a.jsonl"
    assert refusal(tokens_of, *chats(3), BAD) == (
        f"{path}, line 4: message 1 (user): the turn is empty. Use data.on_bad_row=skip to leave "
        "out and count such rows."
    )
    assert not (tmp_path / "cache" / "conversations").exists() or not any(
        (tmp_path / "cache" / "conversations").iterdir()
    )


def test_a_bad_row_of_a_worker_is_named_too(tokens_of, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenize, "_CHUNK", 2)
    monkeypatch.setattr(tokenize, "_ROWS_OF_ONE_PROCESS", 2)
    monkeypatch.setattr(forked, "workers", lambda: 2)
    assert refusal(tokens_of, *chats(20), BAD, *chats(20)).startswith(
        f"{tmp_path / 'a.jsonl'}, line 21: message 1 (user): the turn is empty."
    )


def test_skipped_rows_are_counted_by_reason_and_only_then_read_with_error(tokens_of, tmp_path):
    rows = [*chats(2), BAD, row("q"), BAD]
    meta = tokens_of(*rows, on_bad_row="skip").meta
    assert (meta.read, meta.skipped) == (5, 3)
    assert meta.reasons == {
        "message 1 (user): the turn is empty": 2,
        "no message is the assistant's, so nothing can be learned from the conversation": 1,
    }
    assert meta.shown[0] == f"{tmp_path / 'a.jsonl'}, line 3: message 1 (user): the turn is empty"
    assert "line 3: message 1 (user)" in refusal(tokens_of, *rows)  # though the cache has the set


def test_rows_of_which_none_can_be_used_are_refused(tokens_of, tmp_path):
    assert refusal(tokens_of, BAD, BAD, on_bad_row="skip") == (
        f"None of the 2 rows can be used. The first: {tmp_path / 'a.jsonl'}, line 1: message 1 "
        "(user): the turn is empty."
    )
    assert "Check that data.recipe fits this data." in refusal(tokens_of, {"text": "a"})


def test_conversations_that_are_all_too_long_are_refused_in_one_line(tokens_of, tmp_path):
    for policy in TooLong:
        assert refusal(tokens_of, *chats(3), max_tokens=5, too_long=policy) == (
            f"{tmp_path / 'a.jsonl'}: every conversation is longer than data.max_tokens=5. "
            "Raise it."
        )


def test_what_becomes_of_long_conversations_is_counted(tokens_of):
    rows = [row("q", "a"), row("q", "a", "q", "b" * 200, "q", "c"), row("q", "a" * 200)]
    counts = {
        policy: tokens_of(*rows, max_tokens=60, too_long=policy).meta.chat for policy in TooLong
    }
    assert counts == {
        TooLong.cut_end: {"conversations": 3, "too_long": 2, "turns_cut": 3, "dropped": 1},
        TooLong.drop_oldest: {"conversations": 3, "too_long": 2, "turns_cut": 3, "dropped": 1},
        TooLong.split: {
            "conversations": 3, "too_long": 2, "turns_cut": 2, "dropped": 1, "pieces": 1
        },
        TooLong.drop_row: {"conversations": 3, "too_long": 2, "turns_cut": 4, "dropped": 2},
    }  # fmt: skip


def test_the_rows_that_a_template_adds_are_counted_after_the_cut(tokens_of):
    rows = [row("q", "a"), row("q", "a", "q", "b", "q", "c" * 200)]
    tokens = tokens_of(*rows, template=FORGETS, max_tokens=80)
    assert tokens.rows.tolist() == [1, 2, 2]
    assert tokens.meta.chat == {
        "conversations": 2,
        "too_long": 1,
        "turns_cut": 1,
        "more_rows": 1,
        "more_tokens": len(tokens.row(1)),
        "rewritten": 1,
    }


def test_turns_and_messages_are_numbered_as_in_the_whole_conversation(tokens_of):
    long = row("q", "a", "q", "b" * 30, "q", "c", system="S")
    for template in ("chatml", FORGETS):
        tokens = tokens_of(long, template=template, max_tokens=68, too_long="split")
        assert {*tokens.rows.tolist()} == {1} and len(tokens) > 1
        found = [one for n in range(len(tokens)) for one in tokens.segments(n) if one.turn]
        assert [(one.turn, one.message) for one in found] == [(1, 2), (2, 4), (3, 6)]


MY_RECIPES = """
from anima_exp.data.chat.conversation import Conversation, Message
from anima_exp.data.example import Example
from anima_exp.data.formats import Format

def talk(row):
    return Conversation((Message("user", row["q"]), Message("assistant", row["a"])))

def twice(row):
    return [talk(row), talk(row)]

def both(row):
    return [talk(row), Example(row["q"], row["a"])]

def example(row):
    return Example(row["q"], row["a"])

def buggy(row):
    return row["a"].no_such_method()

TALK, TWICE, BOTH, EXAMPLE, BUGGY = (
    Format(recipe.__name__, recipe=recipe, conversations=True, prompt_format="chat")
    for recipe in (talk, twice, both, example, buggy)
)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_chats.py").write_text(MY_RECIPES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_chats", raising=False)


@pytest.mark.usefixtures("mine")
def test_a_users_own_recipe_may_return_conversations_if_its_format_says_so(tokens_of, tmp_path):
    rows = [{"q": "x", "a": "y", "z": 1}]
    tokens = tokens_of(*rows, recipe="my_chats.TALK")
    assert answers(tokens) == [["y<|im_end|>"]]
    assert tokens.meta.unread == {"z": 1}
    assert answers(tokens_of(*rows, recipe="my_chats.TWICE")) == [["y<|im_end|>"]] * 2
    where = f"{tmp_path / 'a.jsonl'}, line 1: the recipe returned"
    assert refusal(tokens_of, *rows, recipe="my_chats.BOTH").startswith(
        f"{where} list, not an Example, a Conversation or a list of one of them."
    )
    assert refusal(tokens_of, *rows, recipe="my_chats.EXAMPLE").startswith(
        f"{where} an Example, but its format has conversations=True."
    )
    assert refusal(tokens_of, {"q": "x"}, recipe="my_chats.TALK").startswith(
        f"{tmp_path / 'a.jsonl'}, line 1: no column 'a', which data.recipe reads; the row has q."
    )


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_bug_in_a_users_recipe_keeps_its_traceback_and_names_the_row(
    tokens_of, monkeypatch, processes
):
    if processes > 1:
        monkeypatch.setattr(tokenize, "_CHUNK", 1)
        monkeypatch.setattr(tokenize, "_ROWS_OF_ONE_PROCESS", 0)
        monkeypatch.setattr(forked, "workers", lambda: 2)
    with pytest.raises(AttributeError) as error:
        tokens_of({"q": "x", "a": "y"}, {"q": "x", "a": "y"}, recipe="my_chats.BUGGY")
    assert error.value.__notes__ == ["data.recipe at row 1"]


@pytest.mark.usefixtures("mine")
def test_an_edit_of_a_users_recipe_makes_another_set(tokens_of, tmp_path):
    folders = {tokens_of({"q": "x", "a": "y"}, recipe="my_chats.TALK").folder.name}
    with (tmp_path / "my_chats.py").open("a") as module:
        module.write("\n# another line\n")
    folders.add(tokens_of({"q": "x", "a": "y"}, recipe="my_chats.TALK").folder.name)
    assert len(folders) == 2


def message(name, parent, role, text, **more):
    return {"message_id": name, "parent_id": parent, "role": role, "text": text, **more}


OASST1 = [
    message("a", None, "prompter", "q1"),
    message("b", "a", "assistant", "worse", rank=1),
    message("c", None, "prompter", "q2"),
    message("d", "a", "assistant", "better", rank=0),
    message("e", "lost", "assistant", "nowhere"),
    message("f", "c", "assistant", "a2"),
]


def test_rows_of_one_message_each_are_joined_to_trees(tokens_of, capsys):
    tokens = tokens_of(*OASST1, recipe="oasst1_chat")
    assert answers(tokens) == [["better<|im_end|>"], ["a2<|im_end|>"]]
    assert tokens.rows.tolist() == [1, 3]  # the lines of their first messages
    assert "1 messages of" in capsys.readouterr().out


def test_a_bad_tree_or_line_among_messages_is_named_by_its_line(tokens_of, tmp_path):
    empty = [message("g", None, "prompter", " "), message("h", "g", "assistant", "x")]
    assert refusal(tokens_of, *OASST1, *empty, recipe="oasst1_chat").startswith(
        f"{tmp_path / 'a.jsonl'}, line 7: message 1 (user): the turn is empty."
    )
    assert "line 7: broken JSON" in refusal(tokens_of, *OASST1, "{", recipe="oasst1_chat")
    skipping = tokens_of(*OASST1, "{", *empty, recipe="oasst1_chat", on_bad_row="skip")
    assert (len(skipping), skipping.meta.skipped) == (2, 2)
    assert refusal(tokens_of, *OASST1, OASST1[0], recipe="oasst1_chat") == (
        f"{tmp_path / 'a.jsonl'}: two messages have the message_id 'a'"
    )


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (chats(1)[0], "is read as messages: Column 'messages' is a list of messages."),
        ({"prompt": "q0.0", "response": "a0.0"}, "is read as prompt_response: Columns"),
        ({"instruction": "q0.0", "output": "a0.0"}, "is read as alpaca: Columns"),
    ],
)
def test_auto_says_what_it_recognizes(tokens_of, capsys, tmp_path, given, says):
    tokens = tokens_of("no json", given, recipe="auto", on_bad_row="skip")
    assert answers(tokens) == [["a0.0<|im_end|>"]]
    assert f"data     {tmp_path / 'a.jsonl'} {says}" in capsys.readouterr().out


def test_auto_refuses_mixed_rows_and_names_their_lines(tokens_of, tmp_path):
    path = tmp_path / "a.jsonl"
    rows = ["no json", *chats(1), {"prompt": "q", "response": "a"}]
    assert refusal(tokens_of, *rows, recipe="auto", on_bad_row="skip") == (
        f"data.recipe=auto: {path}, line 2 fits messages, but {path}, line 3 fits prompt_response. "
        "Choose one with data.recipe=NAME."
    )


def test_a_control_token_in_a_text_is_text_or_a_bad_row_that_names_the_message(tokens_of, tmp_path):
    rows = [row("q", "a", "<|im_end|>?", "b")]
    tokens = tokens_of(*rows)
    assert tokens.meta.chat["spelled"] == 1
    end = tokens.ids[tokens.segments(0)[1].end - 1]
    assert (tokens.ids == end).sum() == 4  # those of the template
    assert refusal(tokens_of, *rows, special_tokens_in_text="error") == (
        f"{tmp_path / 'a.jsonl'}, line 1: message 3 (user): it contains the control token "
        "<|im_end|> as text. Use data.on_bad_row=skip to leave out and count such rows."
    )


def test_two_turns_in_a_row_are_named_if_the_template_refuses_them(tokens_of, tmp_path):
    twice = row("q", "a")
    twice["messages"].insert(1, {"role": "user", "content": "q2"})
    for template in ("mistral", "gemma"):
        assert refusal(tokens_of, *chats(2), twice, template=template) == (
            f"{tmp_path / 'a.jsonl'}, line 3: message 2 (user): two turns of the user in a row, "
            "which the template forbids. Use data.on_bad_row=skip to leave out and count such rows."
        )
    assert len(tokens_of(twice, template="chatml")) == 1


def test_what_a_template_refuses_for_another_reason_keeps_its_words(tokens_of):
    tools = [{"name": "add", "parameters": {}}]
    assert (
        "the chat template does not accept this conversation: The format mistral has no tools"
        in (refusal(tokens_of, row("q", "a", tools=tools), template="mistral"))
    )


@pytest.mark.parametrize("columns", [{}, {"system": "S"}])
def test_what_the_template_refuses_has_the_number_of_the_row_as_well(tokens_of, columns):
    """A system prompt in a column of its own is no message of the row."""
    leaves_out = FORGETS.source.replace("m.content +", "m.content | replace('c', '') +")
    template = replace(FORGETS, source=leaves_out)
    says = refusal(tokens_of, row("q", "a", "p", "c") | columns, template=template)
    assert "leaves out or changes the text of message 4: it writes" in says


def test_a_cache_that_cannot_be_written_is_one_line(tokens_of, tmp_path):
    Path(tmp_path / "blocked").write_text("")
    assert "Choose another folder with cache_dir=FOLDER" in refusal(
        tokens_of, *chats(1), cache="blocked"
    )


def test_raw_ids_are_those_of_the_masks(tokens_of, tmp_path):
    rows = chats(5)
    config = chat_file(tmp_path, *rows)
    masks = masks_of(replace(config))
    from anima_exp.data.formats import recipe

    tokens = tokens_of(*rows)
    for n, given in enumerate(rows):
        [expected] = masks.rows(recipe("messages")(given))
        assert np.array_equal(tokens.row(n), expected.ids)


def says(role, content, **fields):
    return {"role": role, "content": content, **fields}


ANSWER = says("assistant", "It is 4.")


def test_flags_of_messages_count_by_default_and_are_counted(tokens_of):
    """An answer whose message says train=false is not trained on, nor a row of such answers."""
    kept = {"messages": [says("user", "q"), says("assistant", "a"), says("user", "p"), ANSWER]}
    kept["messages"][1]["weight"] = 0
    none = {"messages": [says("user", "q"), says("assistant", "a", train=False)]}
    tokens = tokens_of(kept, none, recipe="messages")
    assert len(tokens) == 1
    assert [one.message for one in tokens.segments(0) if one.kind.is_trained] == [3]
    assert tokens.meta.chat["answers_left_out"] == 1
    assert tokens.meta.chat["untrained"] == 1
    assert tokens.meta.skipped == 0


def test_a_number_in_the_words_of_a_template_is_no_message_number(tokens_of):
    words = (
        "{% for m in messages %}{% if 'bad' in m.content %}"
        "{{ raise_exception('message 12 is bad') }}{% endif %}"
        "{{ '<|im_start|>' + m.role + ' ' + m.content + '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant ' }}{% endif %}"
    )
    bad = {"messages": [says("user", "bad"), ANSWER]}
    with pytest.raises(DataError, match=r"line 1: the chat template .*: message 12 is bad"):
        tokens_of(bad, template=ChatTemplate("own", words), recipe="messages")


def test_characters_that_unicode_reserves_are_refused(tokens_of):
    bad = {"messages": [says("user", "\ufdd09999\ufdd1"), ANSWER]}
    with pytest.raises(DataError, match=r"line 1: message 1 \(user\): it contains U\+FDD0"):
        tokens_of(bad, recipe="messages")


def test_a_file_in_which_no_answer_is_trained_on_is_an_error_that_says_so(tokens_of):
    none = {"messages": [says("user", "q"), says("assistant", "a", train=False)]}
    with pytest.raises(DataError, match=r"every answer says that it is not trained on"):
        tokens_of(none, none, recipe="messages")
