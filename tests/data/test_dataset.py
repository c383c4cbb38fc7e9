from types import SimpleNamespace

import numpy as np
import pytest
from support.byte_tokenizer import BOS, EOS, byte_tokenizer, local, pairs, write_rows

from anima_exp.config import BadRow
from anima_exp.data.dataset import prepare
from anima_exp.data.encode import IGNORE
from anima_exp.data.splits import Counts
from anima_exp.errors import ConfigError, DataError


@pytest.fixture
def prepared(tmp_path):
    def _prepared(*rows, tokenizer=None, **settings):
        path = write_rows(tmp_path / "a.jsonl", *rows)
        return prepare(
            local(path, **settings), tokenizer or byte_tokenizer(), cache=tmp_path / "cache"
        )

    return _prepared


def texts(rows):
    return [bytes(rows.response_ids(i).tolist()).decode() for i in range(len(rows))]


def test_a_row_is_ids_and_labels_as_integers_of_64_bits(prepared):
    train = prepared({"prompt": "ab", "response": "cd"}).train
    assert len(train) == 1
    assert train[0]["input_ids"].tolist() == [BOS, *b"ab", *b"cd", EOS]
    assert train[0]["labels"].tolist() == [IGNORE] * 3 + [*b"cd", EOS]
    assert {column.dtype for column in train[0].values()} == {np.dtype(np.int64)}


def test_lengths_are_those_of_the_rows(prepared):
    rows = [{"prompt": "p" * n, "response": "r" * (12 - n)} for n in range(12)]
    for on_source in (False, True):
        train = prepared(*rows, train_on_source=on_source).train
        assert train.lengths.dtype == np.int32
        assert train.lengths.tolist() == [len(train[i]["input_ids"]) for i in range(12)]
        # The first position has nothing before it that could predict it.
        learned = [(train[i]["labels"][1:] != IGNORE).sum() for i in range(12)]
        assert train.label_counts.tolist() == learned


def test_a_prompt_is_given_as_cut_and_an_answer_whole(prepared):
    train = prepared(
        {"prompt": "abcdef", "response": "123456"}, max_prompt_tokens=3, max_response_tokens=3
    ).train
    assert train.prompt_ids(0).tolist() == [BOS, *b"ab"]
    assert train.response_ids(0).tolist() == [*b"123456"]


def test_held_out_rows_are_not_trained_on(prepared):
    data = prepared(*pairs(20), heldout_rows=5)
    assert sorted(texts(data.train) + texts(data.heldout)) == sorted(f"a{i}" for i in range(20))
    assert len(data.heldout) == 5


def test_the_held_out_rows_are_the_same_however_few_are_trained_on(prepared):
    whole = prepared(*pairs(20), heldout_rows=5)
    few = prepared(*pairs(20), heldout_rows=5, max_train_rows=4)
    fewer = prepared(*pairs(20), heldout_rows=5, max_train_rows=2)
    assert texts(few.heldout) == texts(whole.heldout)
    assert texts(few.train) == texts(whole.train)[:4]
    assert texts(fewer.train) == texts(few.train)[:2]


def test_rows_may_be_held_out_of_a_file_of_their_own(prepared, tmp_path):
    other = write_rows(tmp_path / "b.jsonl", {"prompt": "", "response": "x"}, "{broken")
    data = prepared(*pairs(3), heldout_path=str(other), heldout_rows=100, on_bad_row=BadRow.skip)
    assert sorted(texts(data.train)) == ["a0", "a1", "a2"]
    assert texts(data.heldout) == ["x"]
    assert (data.counts.rows, data.counts.skipped) == (5, 1)


def test_everything_is_counted(prepared):
    data = prepared(
        {"prompt": "abc", "response": "12"},
        {"prompt": "abcdefgh", "response": "12345678"},
        {"prompt": "abc", "response": ""},
        on_bad_row=BadRow.skip,
    )
    assert data.counts == Counts(
        rows=3,
        skipped=1,
        train=2,
        heldout=0,
        truncated_prompts=1,
        truncated_responses=1,
        without_labels=0,
        train_tokens=4 + 3 + 8 + 8,
        label_tokens=3 + 8,
    )


def test_without_bos_or_prompt_a_single_token_teaches_nothing(prepared):
    row = {"prompt": "", "response": "abc"}
    data = prepared(row, tokenizer=byte_tokenizer(bos=None), max_response_tokens=1)
    assert data.counts.without_labels == 1
    assert data.counts.label_tokens == 0


def test_the_fingerprint_is_the_datas_not_the_settings(prepared):
    base = prepared(*pairs(5))
    assert prepared(*pairs(5), max_prompt_tokens=4, heldout_rows=2).fingerprint == base.fingerprint
    assert prepared(*pairs(6)).fingerprint != base.fingerprint


def test_faults_of_the_settings_name_them(prepared):
    with pytest.raises(DataError, match=r"data\.heldout_rows=9 leaves nothing to train on"):
        prepared(*pairs(5), heldout_rows=9)
    with pytest.raises(ConfigError, match=r"data\.recipe=prompt_respose: there is no such recipe"):
        prepared(*pairs(5), recipe="prompt_respose")


def test_a_tokenizer_that_cuts_and_pads_is_made_to_do_neither(prepared):
    tokenizer: SimpleNamespace = byte_tokenizer()
    tokenizer.backend_tokenizer.enable_truncation(2)
    tokenizer.backend_tokenizer.enable_padding(length=30)
    train = prepared({"prompt": "abc", "response": "de"}, tokenizer=tokenizer).train
    assert train[0]["input_ids"].tolist() == [BOS, *b"abc", *b"de", EOS]
