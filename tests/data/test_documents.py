"""data.recipe=text: documents are cut into rows, and every token of them is trained on."""

import numpy as np
import pytest
from support.byte_tokenizer import BOS, EOS, byte_tokenizer, local, write_rows

from anima_exp.config import BadRow, TrainOn
from anima_exp.data import apply_recipe, documents, formats
from anima_exp.data.dataset import prepare
from anima_exp.data.encode import IGNORE
from anima_exp.data.example import Example
from anima_exp.data.formats import Format
from anima_exp.errors import ConfigError, DataError

LONG = "abcdefghijklmnopqrstuvwxyz"
PROMPTED = Format("prompted", recipe=lambda row: Example("q", row["text"]), documents=True)


@pytest.fixture
def prepared(tmp_path):
    def _prepared(*texts, tokenizer=None, **settings):
        path = write_rows(tmp_path / "a.jsonl", *({"text": text} for text in texts))
        config = local(path, **{"recipe": "text", "max_tokens": 10, **settings})
        return prepare(config, tokenizer or byte_tokenizer(), cache=tmp_path / "cache")

    return _prepared


def in_order(rows):
    """The ids of the rows by document, each as the source has it."""
    found = {}
    for number in np.argsort(rows.order):
        ids = rows[int(number)]["input_ids"].tolist()
        found.setdefault(rows.source_row(int(number)), []).append(ids)
    return found


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 17, 18, 26])
def test_every_token_but_bos_is_a_label_exactly_once(prepared, length):
    train = prepared(LONG[:length]).train
    (rows,) = in_order(train).values()
    assert all(2 <= len(row) <= 10 for row in rows)
    predicted = [token for row in rows for token in row[1:]]
    assert [rows[0][0], *predicted] == [BOS, *LONG[:length].encode(), EOS]
    assert [row[0] for row in rows[1:]] == [row[-1] for row in rows[:-1]]
    for number in range(len(train)):
        assert train[number]["labels"].tolist() == train[number]["input_ids"].tolist()
        assert (train[number]["labels"] != IGNORE).all()
    assert train.label_counts.sum() == len(predicted)


def test_a_tokenizer_without_bos_begins_with_the_text(prepared):
    train = prepared("abc", tokenizer=byte_tokenizer(bos=None)).train
    assert train[0]["input_ids"].tolist() == [*b"abc", EOS]


def test_whole_documents_are_held_out(prepared):
    data = prepared(*(LONG[n:] + LONG for n in range(8)), heldout_rows=3)
    held, trained = ({*in_order(rows)} for rows in (data.heldout, data.train))
    assert len(held) == 3
    assert held | trained == {*range(1, 9)}
    assert not held & trained


def test_documents_and_rows_are_counted_in_the_notes(prepared):
    assert prepared(LONG, "ab", "cd").notes["documents"] == (
        "3 in 5 rows of at most 10 tokens; 1 document has more than one row"
    )


def test_a_control_token_in_a_document_stays_text(prepared):
    data = prepared("a</s>b")
    assert data.train[0]["input_ids"].tolist() == [BOS, *b"a</s>b", EOS]
    assert "</s>" in data.notes["text"]


def test_a_text_file_is_one_document(tmp_path):
    (tmp_path / "a.txt").write_text("first\nsecond\n")
    data = prepare(
        local(tmp_path / "a.txt", recipe="text"), byte_tokenizer(), cache=tmp_path / "cache"
    )
    assert data.train[0]["input_ids"].tolist() == [BOS, *b"first\nsecond\n", EOS]


def test_an_empty_document_is_a_bad_row(prepared):
    with pytest.raises(DataError, match="line 2: column 'text' is empty"):
        prepared("a", " ")
    assert prepared("a", " ", on_bad_row=BadRow.skip).counts.skipped == 1


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"template": "chatml"}, r"^data.template=chatml is for conversations, but data.recipe=te"),
        ({"train_on": TrainOn.last}, r"^data.train_on=last is for conversations, but data.recipe="),
        ({"max_tokens": 1}, r"^data.max_tokens=1 is too short"),
    ],
)
def test_a_setting_that_contradicts_documents_is_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        documents.check_settings(local("a.txt", recipe="text", **settings))


def test_a_recipe_of_documents_may_not_return_a_prompt(prepared):
    with pytest.raises(DataError, match="the recipe returned a prompt, but its format has doc"):
        prepared("a", recipe=f"{__name__}.PROMPTED")


def test_the_dry_run_counts_documents(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", {"text": "a"}, {"text": "b"})
    apply_recipe.check_rows(local(path, recipe="text", heldout_rows=1))
    with pytest.raises(DataError, match=r"data\.heldout_rows=2 leaves nothing"):
        apply_recipe.check_rows(local(path, recipe="text", heldout_rows=2))


def test_a_model_of_documents_is_asked_without_a_template():
    assert formats.prompt_template_of("text") == "plain"
