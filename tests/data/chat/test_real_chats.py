"""Every row of real chat files is a conversation, or an error that names what is wrong."""

import re
from collections import Counter

import pytest

from anima_exp.data import readers
from anima_exp.data.chat import rows, texts
from anima_exp.data.chat.recognize import auto
from anima_exp.data.chat.rules import check
from anima_exp.errors import DataError

NO_CALL = "message N (tool): a tool result without a call"
NO_THINK = "message N (assistant): it has </think> but no <think> before it"
EMPTY = "message N (assistant): the turn is empty"
TWICE = "message N (assistant): two turns of the assistant in a row, which the template forbids"
RANKED = "column 'output' is a list, not text"
RECIPES = {
    name: getattr(module, name)
    for module, names in (
        (rows, ("messages", "sharegpt")),
        (texts, ("alpaca_chat", "oasst1_chat", "hh_rlhf_chat")),
    )
    for name in names
}

# File: recipe, conversations, messages in them, rows with each error.
FILES = {
    "chat_demos/glaive_toolcall_en_demo.json": ("sharegpt", 300, 1914, {}),
    "chat_demos/glaive_toolcall_zh_demo.json": ("sharegpt", 298, 1868, {NO_CALL: 2}),
    "chat_demos/reason_tool_use_demo_50.jsonl": ("messages", 48, 266, {NO_THINK: 2}),
    "chat_demos/v1_sft_demo.jsonl": ("messages", 500, 1000, {}),
    "dpo_demos/dpo_en_demo.json": ("sharegpt", 300, 1206, {}),
    "dpo_demos/dpo_zh_demo.json": ("sharegpt", 300, 664, {}),
    "lima/lima.json": ("alpaca_chat", 1029, 2164, {}),
    "oasst1/oaast_sft_zh.json": ("alpaca_chat", 689, 2276, {}),
    "oasst1/openassistant-guanaco-like.en-validation.jsonl": ("oasst1_chat", 188, 550, {}),
    "hh_rlhf/harmless-base/test.jsonl.gz": ("hh_rlhf_chat", 2308, 11510, {EMPTY: 4}),
}


def rows_of(shared_data, name):
    return [row for _, row in readers.rows(shared_data / "instruction" / name)]


def read_all(rows, recipe, **rules):
    """Return the conversations and the counts of errors, with N for the numbers in them."""
    found, errors = [], Counter()
    for row in rows:
        try:
            conversation = recipe(row)
            check(conversation, **rules)
        except DataError as error:
            errors[re.sub(r"\d+", "N", str(error))] += 1
        else:
            found.append(conversation)
    return found, errors


@pytest.mark.parametrize("name", FILES)
def test_every_row_is_a_conversation_or_a_named_error(shared_data, name):
    recipe, conversations, messages, errors = FILES[name]
    rows = rows_of(shared_data, name)
    found, refused = read_all(rows, RECIPES[recipe])
    assert (len(found), dict(refused)) == (conversations, errors)
    assert sum(len(conversation.messages) for conversation in found) == messages
    assert auto(rows).recipe == recipe


def test_only_hh_rlhf_breaks_the_rule_that_turns_alternate(shared_data):
    for name, (recipe, conversations, _, _) in FILES.items():
        found, refused = read_all(
            rows_of(shared_data, name), RECIPES[recipe], alternate=("user", "assistant")
        )
        twice = 8 if recipe == "hh_rlhf_chat" else 0
        assert (len(found), refused[TWICE]) == (conversations - twice, twice), name


def test_what_the_real_conversations_have(shared_data):
    seen = Counter()
    for name, (recipe, *_) in FILES.items():
        for conversation in read_all(rows_of(shared_data, name), RECIPES[recipe])[0]:
            seen["tools"] += bool(conversation.tools)
            for message in conversation.messages:
                seen[message.role] += 1
                seen["calls"] += len(message.tool_calls)
                seen["thinking"] += message.thinking is not None
                seen["train"] += message.train is True
                seen["no train"] += message.train is False
    roles = {"system": 192, "user": 11141, "assistant": 11617, "tool": 468}
    marked = {"train": 500, "no train": 500}
    assert seen == {"tools": 435, "calls": 493, "thinking": 109} | roles | marked


def test_each_tree_of_oasst1_is_the_dialogue_that_guanaco_would_be_trained_on(shared_data):
    trees, left_over = texts.oasst1_trees(rows_of(shared_data, "oasst1/en-validation.jsonl"))
    dialogues = rows_of(shared_data, "oasst1/openassistant-guanaco-like.en-validation.jsonl")
    of_trees, refused = read_all(trees, texts.oasst1_chat)
    of_texts, _ = read_all(dialogues, texts.oasst1_chat)

    def stripped(found):
        return [[(m.role, m.content.strip()) for m in one.messages] for one in found]

    assert stripped(of_trees) == stripped(of_texts)
    assert (len(of_trees), refused, left_over) == (
        188,
        {},
        3,
    )  # three have a parent in another language


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("oasst1/en-validation.jsonl", "row 1 is one message of a tree"),
        ("oasst1/oaast_rm_zh.json", "row 1 fits no recipe"),
        ("belle_zh/eval/eval_set.json", "row 1 fits no recipe"),
        ("belle_zh/eval/eval_prompt.json", "row 1 fits no recipe"),
        ("belle_zh/data/1.5M/zh_seed_tasks.json", "row 1 fits no recipe"),
        ("preference_demos/kto_en_demo.json", "column 'label' of row 1 marks an answer"),
        ("preference_demos/v1_dpo_demo.jsonl", "row 1 fits no recipe"),
    ],
)
def test_a_real_file_that_is_no_conversation_is_refused(shared_data, name, why):
    with pytest.raises(DataError, match=f"^data.recipe=auto: {re.escape(why)}"):
        auto(rows_of(shared_data, name))


def test_ranked_answers_are_not_one_answer(shared_data):
    found, refused = read_all(rows_of(shared_data, "oasst1/oaast_rm_zh.json"), texts.alpaca_chat)
    assert (found, refused) == ([], {RANKED: 775})


def test_belles_rows_of_one_turn_are_conversations_too(shared_data):
    rows = rows_of(shared_data, "belle_zh/train/utils/data/dev1K.json")
    assert auto(rows).recipe == "alpaca"
    assert len(read_all(rows, texts.alpaca_chat)[0]) == 1000
    _, refused = read_all(rows, texts.belle_chat)
    assert refused.total() == 1000  # they have no marks of turns


def test_the_parts_of_no_real_answer_are_lost(shared_data):
    """Every text of a content part is in the message that is read from it."""
    for name in ("reason_tool_use_demo_50.jsonl", "v1_sft_demo.jsonl"):
        for row in rows_of(shared_data, f"chat_demos/{name}"):
            try:
                found = rows.messages(row).messages
            except DataError:
                continue
            for entry, message in zip(row["messages"], found, strict=True):
                texts = {"text": message.content, "reasoning": message.thinking}
                for part in entry["content"]:
                    assert part["type"] == "tool_call" or part["value"] == texts[part["type"]]
                calls = sum(part["type"] == "tool_call" for part in entry["content"])
                assert calls == len(message.tool_calls)


def test_a_conversation_in_the_form_of_chat_templates_reads_back_as_itself(shared_data):
    for name, (recipe, *_) in FILES.items():
        for one in read_all(rows_of(shared_data, name), RECIPES[recipe])[0]:
            again = rows.messages({"messages": one.as_dicts(), "tools": list(one.tools)})
            assert again.as_dicts() == one.as_dicts()
            assert again.tools == one.tools


def test_every_value_of_sharegpt_is_in_its_message(shared_data):
    joined = 0
    for name, (recipe, *_) in FILES.items():
        for row in rows_of(shared_data, name) if recipe == "sharegpt" else ():
            by_number = {message.number: message for message in rows.sharegpt(row).messages}
            for number, entry in enumerate(row["conversations"], start=1):
                if entry["from"] == "function_call":
                    joined += number not in by_number
                else:
                    assert by_number[number].content == entry["value"]
    assert joined == 0
