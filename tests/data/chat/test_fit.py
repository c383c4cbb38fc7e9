"""A conversation that is too long is shortened by whole turns, and what is cut is counted."""

import random
from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
from support.chat_tokenizers import chat_tokenizer

from anima_exp.config import TooLong, TrainOn
from anima_exp.data.chat.conversation import Conversation, Message, ToolCall
from anima_exp.data.chat.fit import fit
from anima_exp.data.chat.masks import ChatMasks
from anima_exp.data.chat.templates import ChatTemplate, named
from anima_exp.errors import DataError

SYSTEM = Message("system", "Be brief.")
# It writes the thinking of the last answer alone, as Qwen3's, so each answer has a row of its own.
FORGETS = ChatTemplate(
    "forgets",
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' and loop.last %}"
    "{{- '<think>' + (m.reasoning_content or '') + '</think>' }}{%- endif %}"
    "{{- m.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}",
)
TEMPLATES = {"chatml": named("chatml"), "forgets": FORGETS}


@cache
def masks_of(template, train_on):
    return ChatMasks(TEMPLATES[template], chat_tokenizer("bytes"), train_on)


def words(count):
    """A text of as many tokens."""
    return " ".join(["4"] * ((count + 1) // 2))


def talk(*lengths, system=SYSTEM):
    """User and assistant in turn, whose texts have these lengths."""
    turns = [Message(("user", "assistant")[n % 2], words(size)) for n, size in enumerate(lengths)]
    return Conversation((*([system] if system else []), *turns))


def fitted(conversation, limit, policy, train_on="assistant", template="chatml"):
    """The rows, for each the numbers of its answers and of all its messages, and the counts."""
    masks, counts = masks_of(template, train_on), Counter()
    found = fit(
        conversation,
        masks.rows(conversation),
        limit,
        TooLong(policy),
        train_on=TrainOn(train_on),
        again=masks.rows,
        counts=counts,
    )
    return found, {name: count for name, count in counts.items() if count}


def answers(found):
    return [each.answers for each in found]


def tokens(conversation, train_on="assistant", template="chatml"):
    return max(len(row.ids) for row in masks_of(template, train_on).rows(conversation))


def shown(row):
    return chat_tokenizer("bytes").decode(row.ids)


def test_a_conversation_as_long_as_the_limit_stays_whole_and_is_not_counted():
    conversation = talk(3, 3, 3, 3)
    limit = tokens(conversation)
    for policy in TooLong:
        found, counts = fitted(conversation, limit, policy)
        assert (answers(found), counts) == ([[2, 4]], {})


def test_cut_end_leaves_out_the_last_turns():
    conversation = talk(3, 3, 3, 3, 3, 3)
    limit = tokens(talk(3, 3, 3, 3))
    found, counts = fitted(conversation, limit, "cut_end")
    assert (answers(found), counts) == ([[2, 4]], {"too_long": 1, "turns_cut": 1})
    assert (
        shown(found[0].row) == shown(masks_of("chatml", "assistant").rows(talk(3, 3, 3, 3))[0])[:-1]
    )  # without the line break after the last answer


def test_what_the_template_writes_after_the_last_answer_may_be_cut_without_a_turn():
    conversation = talk(3, 3, 3, 3)
    found, counts = fitted(conversation, tokens(conversation) - 1, "cut_end")
    assert (answers(found), counts) == ([[2, 4]], {"too_long": 1})


def test_cut_end_ends_inside_a_round_of_tool_calls():
    call = Message("assistant", tool_calls=(ToolCall("add", {"a": 2}),))
    conversation = Conversation(
        (Message("user", "2+3?"), call, Message("tool", "5"), Message("assistant", words(90)))
    )
    found, counts = fitted(conversation, 80, "cut_end")
    assert (answers(found), counts) == ([[1]], {"too_long": 1, "turns_cut": 1})


def test_drop_oldest_keeps_the_system_prompt_and_the_last_turns():
    conversation = talk(3, 3, 5, 5, 3, 3)
    found, counts = fitted(conversation, tokens(talk(5, 5, 3, 3)), "drop_oldest")
    assert (answers(found), counts) == ([[4, 6]], {"too_long": 1, "turns_cut": 1})
    assert shown(found[0].row) == shown(masks_of("chatml", "assistant").rows(talk(5, 5, 3, 3))[0])


def test_drop_oldest_keeps_an_answer_to_train_on_if_those_after_it_are_not():
    """The search for the first turn to keep must not take 'nothing to train on' for 'too long'."""
    flags = [False, True, False, False, False]
    turns = [SYSTEM]
    for flag in flags:
        turns += [Message("user", words(5)), Message("assistant", words(5), train=flag)]
    conversation = Conversation(tuple(turns))
    limit = tokens(Conversation((SYSTEM, *turns[3:])), "message")
    found, counts = fitted(conversation, limit, "drop_oldest", "message")
    assert (answers(found), counts) == ([[4]], {"too_long": 1})


def test_drop_row_leaves_out_the_whole_conversation_even_if_some_of_its_rows_fit():
    for template in TEMPLATES:
        limit = tokens(talk(3, 3), template=template)
        found, counts = fitted(talk(3, 3, 3, 3), limit, "drop_row", template=template)
        assert (found, counts) == ([], {"too_long": 1, "turns_cut": 2, "dropped": 1})


@pytest.mark.parametrize("policy", ["cut_end", "drop_oldest", "split"])
@pytest.mark.parametrize("train_on", list(TrainOn))
def test_an_answer_that_is_too_long_alone_is_dropped_and_counted(policy, train_on):
    for template in TEMPLATES:
        found, counts = fitted(talk(3, 90), 60, policy, train_on, template)
        assert (found, counts) == ([], {"too_long": 1, "turns_cut": 1, "dropped": 1})


def test_split_begins_a_part_with_the_round_of_the_first_answer_that_does_not_fit():
    conversation = talk(3, 3, 3, 3, 5, 5)
    limit = tokens(talk(3, 3, 3, 3))
    found, counts = fitted(conversation, limit, "split")
    assert answers(found) == [[2, 4], [6]]
    assert counts == {"too_long": 1, "pieces": 1}
    assert shown(found[1].row) == shown(masks_of("chatml", "assistant").rows(talk(5, 5))[0])


def test_split_trains_no_answer_twice_if_its_round_begins_the_next_part():
    """The last round has two answers, and only the first of them fits after the other rounds."""
    long = replace(
        talk(3, 3, 3, 3),
        messages=(*talk(3, 3, 3, 3).messages, Message("assistant", words(9))),
    )
    limit = tokens(long) - 2
    assert limit > tokens(talk(3, 3, 3, 3))
    found, counts = fitted(long, limit, "split")
    assert (answers(found), counts) == ([[2], [4, 5]], {"too_long": 1, "pieces": 1})


def test_split_leaves_out_an_answer_that_does_not_fit_after_the_system_prompt_and_its_question():
    conversation = talk(3, 3, 3, 200, 3, 3)
    found, counts = fitted(conversation, tokens(talk(3, 3, 3, 3)), "split")
    assert (answers(found), counts) == (
        [[2], [6]],
        {"too_long": 1, "turns_cut": 1, "pieces": 1},
    )


def test_the_last_answer_is_another_one_if_the_end_is_cut():
    conversation = talk(3, 3, 3, 3)
    limit = tokens(talk(3, 3))
    found, counts = fitted(conversation, limit, "cut_end", "last")
    assert (answers(found), counts) == ([[2]], {"too_long": 1, "turns_cut": 1})
    for policy in ("drop_oldest", "split"):
        found, counts = fitted(conversation, limit, policy, "last")
        assert (answers(found), counts) == ([[4]], {"too_long": 1})


def test_a_part_without_an_answer_is_not_trained_on_as_text():
    conversation = Conversation((*talk(3, 3).messages, Message("user", words(60))))
    limit = tokens(talk(3, 60), "all")
    for policy, kept in (("cut_end", [0, 1, 2]), ("split", [0, 1, 2]), ("drop_oldest", None)):
        found, counts = fitted(conversation, limit, policy, "all")
        assert [list(each.part.numbers) for each in found] == ([kept] if kept else [])
        assert counts.get("turns_cut", 0) == (kept is None)


def rounds_of(conversation):
    starts = [n for n, message in enumerate(conversation.messages) if message.role == "user"]
    return [
        range(a, b) for a, b in zip(starts, [*starts[1:], len(conversation.messages)], strict=True)
    ]


def random_conversation(dice, answers):
    turns = [SYSTEM] if dice.random() < 0.7 else []
    for _ in range(dice.randint(1, 5)):
        turns.append(Message("user", words(dice.randint(1, 12))))
        for _ in range(dice.choice(answers)):
            thinking = words(dice.randint(1, 8)) if dice.random() < 0.3 else None
            flag = dice.choice([None, None, True, False])
            size = dice.choice([1, 4, 8, 60])
            turns.append(Message("assistant", words(size), thinking=thinking, train=flag))
    if dice.random() < 0.2:
        turns.append(Message("user", words(5)))
    return Conversation(tuple(turns))


def can_fit(number, conversation, limit, masks):
    """Whether an answer fits after the system prompt and what precedes it in its round."""
    [its_round] = [each for each in rounds_of(conversation) if number in each]
    opening = [message for message in conversation.messages if message.role == "system"]
    rows = masks.rows(
        Conversation((*opening, *conversation.messages[its_round.start : number + 1]))
    )
    return any(
        span.end <= limit and span.message == len(opening) + number - its_round.start
        for row in rows
        for span in row.spans
    )


@pytest.mark.parametrize("train_on", list(TrainOn))
@pytest.mark.parametrize("template", TEMPLATES)
def test_random_conversations_are_shortened_as_promised(template, train_on):
    dice = random.Random(f"{template} {train_on}")
    masks = masks_of(template, train_on)
    tokenizer = masks.tokenizer
    cut = 0
    for _ in range(25):
        conversation = random_conversation(dice, [1] if template == "forgets" else [1, 1, 1, 2])
        try:
            whole = masks.rows(conversation)
        except DataError as error:  # every flag says no
            assert "no message of the conversation is trained on" in str(error)
            continue
        messages = conversation.messages
        roles = [message.role for message in messages]
        asked = [span.message for row in whole for span in row.spans]
        if train_on == "all":
            asked = [n for n, role in enumerate(roles) if role == "assistant"]
        limit = dice.randint(20, max(len(row.ids) for row in whole) + 5)
        for policy in TooLong:
            found, counts = fitted(conversation, limit, policy, train_on, template)
            cut += counts.get("too_long", 0)
            kept = []
            for row, part in found:
                assert 0 < len(row.ids) <= limit
                assert part.conversation.messages == tuple(messages[n] for n in part.numbers)
                assert (roles[0] == "system") == (part.conversation.messages[0].role == "system")
                assert list(part.numbers) == sorted(part.numbers)
                for span in row.spans:  # it is whole, with the token that ends it
                    text = tokenizer.decode(row.ids[span.start : span.end])
                    assert text.endswith(
                        part.conversation.messages[span.message].content + "<|im_end|>"
                    )
                    # The model reads the same messages at inference.
                    before = replace(
                        part.conversation, messages=part.conversation.messages[: span.message]
                    )
                    assert row.ids[: span.start].tolist() == masks.prompt(before)
                assert row.mask.sum() >= sum(span.end - span.start for span in row.spans)
                kept += [part.numbers[span.message] for span in row.spans]
                if train_on == "all":
                    kept += [n for n in part.numbers if roles[n] == "assistant"]
            assert len(kept) == len({*kept})  # none is trained on twice
            assert counts.get("turns_cut", 0) == len({*asked} - {*kept})
            assert counts.get("dropped", 0) == (not found)
            if train_on != "last":
                assert {*kept} <= {*asked}
                assert len(kept) + counts.get("turns_cut", 0) == len(asked)
            if policy == "split" and train_on in ("assistant", "message"):
                single = masks_of(template, "assistant")
                assert {*asked} - {*kept} == {
                    n for n in asked if not can_fit(n, conversation, limit, single)
                }
    assert cut > 20
