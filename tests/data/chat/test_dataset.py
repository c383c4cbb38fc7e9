"""Conversations as rows of ids and labels: what a trainer, an evaluation and a report see."""

import numpy as np
import pytest
from support.byte_tokenizer import write_rows
from support.chat_rows import FORGETS, chat_config, chats, decoded, row
from support.chat_tokenizers import chat_tokenizer

from anima_exp.config import TrainOn
from anima_exp.data.dataset import prepare
from anima_exp.data.encode import IGNORE
from anima_exp.data.quality import count_issues, count_leaked
from anima_exp.errors import ConfigError, DataError


@pytest.fixture
def prepared(tmp_path):
    forgets = tmp_path / "forgets.jinja"
    forgets.write_text(FORGETS.source)

    def _prepared(*rows, tokenizer=None, **settings):
        path = write_rows(tmp_path / "a.jsonl", *rows)
        if settings.get("template") is FORGETS:
            settings["template"] = str(forgets)
        return prepare(
            chat_config(path, **({"template": "chatml"} | settings)),
            tokenizer or chat_tokenizer("bytes"),
            cache=tmp_path / "cache",
        )

    return _prepared


def learned(rows):
    """For each row the text of its labels, one piece for each run of them."""
    found = []
    for item in (rows[n] for n in range(len(rows))):
        ids, labels = item["input_ids"], item["labels"]
        assert labels[labels != IGNORE].tolist() == ids[labels != IGNORE].tolist()
        edges = np.flatnonzero(np.diff(np.concatenate([[0], labels != IGNORE, [0]])))
        found.append([decoded(ids[a:b]) for a, b in edges.reshape(-1, 2)])
    return found


def source_rows(rows):
    return sorted({rows.source_row(n) for n in range(len(rows))})


def test_labels_are_the_answers_and_the_tokens_that_end_them(prepared):
    [given] = [row("q", "a", "p", "b", system="S")]
    assert learned(prepared(given).train) == [["a<|im_end|>", "b<|im_end|>"]]
    assert learned(prepared(given, train_on="last").train) == [["b<|im_end|>"]]
    given["messages"][4]["train"] = False
    assert learned(prepared(given, train_on="message").train) == [["a<|im_end|>"]]
    [[text]] = learned(prepared(given, train_on="all").train)
    assert text.startswith("<s><|im_start|>system\nS") and text.endswith("b<|im_end|>\n")


@pytest.mark.parametrize("template", ["chatml", FORGETS])
@pytest.mark.parametrize("train_on", list(TrainOn))
def test_lengths_and_counts_are_those_of_the_rows(prepared, template, train_on):
    data = prepared(*chats(12), template=template, train_on=train_on, heldout_rows=3)
    for rows in (data.train, data.heldout):
        items = [rows[n] for n in range(len(rows))]
        assert {column.dtype for item in items for column in item.values()} == {np.dtype(np.int64)}
        assert rows.lengths.tolist() == [len(item["input_ids"]) for item in items]
        # Nothing predicts the first token.
        counted = [int((item["labels"][1:] != IGNORE).sum()) for item in items]
        assert rows.label_counts.tolist() == counted
        assert rows.tokens_by_kind.sum(axis=1).tolist() == rows.lengths.tolist()
    assert data.counts.train_tokens == data.train.lengths.sum()
    assert data.counts.label_tokens == data.train.label_counts.sum()
    assert data.chat.summary.trained_tokens == data.counts.label_tokens
    assert sum(data.chat.summary.tokens.values()) == data.counts.train_tokens


def turns(rows):
    return [
        [(q.turn, decoded(q.prompt)[-30:], decoded(q.response)) for q in rows.questions(n)]
        for n in range(len(rows))
    ]


def test_each_answer_is_a_question_with_its_turn_without_the_token_that_ends_it(prepared):
    asks = "<|im_start|>assistant\n"
    rows = prepared(row("q1", "a", "q2", "b", "q3", "c")).train
    [found] = turns(rows)
    assert [(turn, answer) for turn, _, answer in found] == [(1, "a"), (2, "b"), (3, "c")]
    assert all(prompt.endswith(asks) for _, prompt, _ in found)
    assert decoded(rows.response_ids(0)) == "c"
    assert rows.prompt_ids(0).tolist() == rows.questions(0)[2].prompt.tolist()


def test_turns_count_on_where_a_template_gives_each_answer_a_row(prepared):
    rows = prepared(row("q", "a", "q", "b", "q", "c"), row("q", "d"), template=FORGETS).train
    found = sorted((rows.source_row(n), turn, text[-3:]) for n in range(len(rows))
                   for turn, _, text in turns(rows)[n])  # fmt: skip
    assert [(row, turn) for row, turn, _ in found] == [(1, 1), (1, 2), (1, 3), (2, 1)]


@pytest.mark.parametrize("policy", ["drop_oldest", "split"])
@pytest.mark.parametrize("template", ["chatml", FORGETS])
def test_turns_of_a_shortened_conversation_are_those_of_the_whole(prepared, policy, template):
    given = row("q", "a" * 40, "q", "b" * 40, "q", "c" * 40)
    rows = prepared(given, template=template, max_tokens=80, too_long=policy).train
    found = {turn: set(text) for each in turns(rows) for turn, _, text in each}
    letters = {turn: text & set("abc") for turn, text in found.items()}
    whole = {1: {"a"}, 2: {"b"}, 3: {"c"}}
    assert letters == (whole if policy == "split" else {3: {"c"}})


def test_answers_that_are_not_trained_on_count_as_turns(prepared):
    given = row("q", "a", "q", "b")
    given["messages"][1]["train"] = False
    for train_on in ("last", "message"):
        [[(turn, _, text)]] = turns(prepared(given, train_on=train_on).train)
        assert (turn, text) == (2, "b")


def test_a_row_of_raw_text_is_one_question_to_its_first_token(prepared):
    [[(turn, prompt, text)]] = turns(prepared(row("q", "a"), train_on="all").train)
    assert (turn, prompt) == (1, "<s>")
    assert text.endswith("a<|im_end|>\n")


def test_equal_rows_and_equal_prompts_have_equal_hashes(prepared):
    rows = prepared(
        row("q", "a", "p", "b"), row("q", "a", "p", "c"), row("q", "a", "p", "b"), row("q", "a")
    ).train
    prompts, whole = rows.hashes()
    of = {n: next(m for m in range(4) if rows.source_row(m) == n) for n in range(1, 5)}
    assert prompts[of[1]] == prompts[of[2]] == prompts[of[3]] != prompts[of[4]]
    assert whole[of[1]] == whole[of[3]] != whole[of[2]]
    issues = count_issues(rows, before_prompt=1)
    assert (issues.repeated, issues.contradicted) == (1, 3)


def test_raw_text_contradicts_nothing(prepared):
    rows = prepared(row("q", "a"), row("q", "b"), row("q", "b"), train_on="all").train
    issues = count_issues(rows, before_prompt=1)
    assert (issues.repeated, issues.contradicted) == (1, 0)


# Held-out rows.


@pytest.mark.parametrize("template", ["chatml", FORGETS])
def test_every_train_on_holds_out_the_same_rows_in_which_all_answers_count(prepared, template):
    """Otherwise the losses of two runs could not be compared."""
    rows = chats(20)
    for number, given in enumerate(rows):
        # Every conversation has an answer to train on, which is not the last one of each.
        for message in given["messages"][3::2]:
            message["train"] = number % 2 == 0
    settings = {"template": template, "heldout_rows": 6, "max_tokens": 65, "too_long": "cut_end"}
    held, trained = {}, {}
    for train_on in TrainOn:
        data = prepared(*rows, train_on=train_on, **settings)
        held[train_on] = sorted(map(str, learned(data.heldout)))
        trained[train_on] = source_rows(data.train)
        assert len(source_rows(data.heldout)) == 6
        assert not {*source_rows(data.heldout)} & {*source_rows(data.train)}
        assert len({*source_rows(data.heldout), *source_rows(data.train)}) == 20
        assert count_leaked(data.train, data.heldout) == 0
    assert len({str(each) for each in held.values()}) == 1
    assert len({str(each) for each in trained.values()}) == 1


def test_all_answers_count_in_a_held_out_file_too(prepared, tmp_path):
    own = write_rows(tmp_path / "held.jsonl", row("q", "a", "p", "b"), row("q", "c"))
    for train_on in TrainOn:
        data = prepared(*chats(3), train_on=train_on, heldout_path=str(own), heldout_rows=9)
        assert sorted(learned(data.heldout)) == [["a<|im_end|>", "b<|im_end|>"], ["c<|im_end|>"]]
        assert data.counts.rows == 5


def test_a_run_without_held_out_rows_reads_the_rows_once(prepared, tmp_path):
    data = prepared(*chats(3), train_on="last")
    assert (len(data.heldout), len(data.train)) == (0, 3)
    assert len([*(tmp_path / "cache" / "conversations").iterdir()]) == 1


def test_a_larger_limit_of_rows_keeps_those_of_a_smaller_one(prepared):
    few = source_rows(prepared(*chats(12), max_train_rows=3).train)
    assert {*few} < {*source_rows(prepared(*chats(12), max_train_rows=6).train)}


# Templates.


def test_a_template_that_cannot_be_trained_with_is_refused_before_anything_is_cached(
    prepared, tmp_path
):
    bad = tmp_path / "bad.jinja"
    bad.write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(ConfigError, match="cannot be trained with") as error:
        prepared(*chats(3), template=str(bad))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "cache").exists()


def test_a_template_for_rows_without_conversations_is_refused(prepared, tmp_path):
    for settings, says in (
        ({"template": "chatml"}, "data.template=chatml is for conversations"),
        ({"template": None, "train_on": "last"}, "data.train_on=last is for conversations"),
    ):
        with pytest.raises(ConfigError, match=says):
            prepared({"prompt": "q", "response": "a"}, recipe="prompt_response", **settings)
    assert not (tmp_path / "cache").exists()


def test_a_setting_for_prompts_is_refused_for_conversations(prepared):
    with pytest.raises(ConfigError, match=r"Use data\.train_on=all to train on every token"):
        prepared(*chats(3), train_on_source=True)


def test_holding_out_every_conversation_is_refused(prepared):
    with pytest.raises(DataError, match=r"data\.heldout_rows=3 leaves nothing to train on"):
        prepared(*chats(3), heldout_rows=3)
