"""How much of each part of a mixture an epoch has, and which rows these are."""

import numpy as np
import pytest
from support.byte_tokenizer import byte_tokenizer, local, pairs, write_rows

from anima_exp.config import MixBy, MixSize
from anima_exp.data.dataset import prepare
from anima_exp.data.mixed import MixedDataset, amounts, taken

ROWS = {"a": 10, "b": 40}


def rows_of(weights=None, size=None, total=None):
    return amounts(ROWS, weights, size=size, total=total)


def test_without_weights_each_row_is_used_once():
    assert rows_of() == {"a": 10, "b": 40}


@pytest.mark.parametrize(
    ("weights", "largest", "smallest"),
    [
        ({"a": 1, "b": 1}, {"a": 40, "b": 40}, {"a": 10, "b": 10}),
        ({"a": 1, "b": 8}, {"a": 10, "b": 80}, {"a": 5, "b": 40}),
        ({"a": 0.1, "b": 0.4}, {"a": 10, "b": 40}, {"a": 10, "b": 40}),
        ({"a": 3, "b": 1}, {"a": 120, "b": 40}, {"a": 10, "b": 10 / 3}),
    ],
)
def test_the_part_of_mix_size_is_used_once_and_the_others_follow(weights, largest, smallest):
    assert rows_of(weights) == pytest.approx(largest)
    assert rows_of(weights, MixSize.largest) == pytest.approx(largest)
    assert rows_of(weights, MixSize.smallest) == pytest.approx(smallest)


def test_a_total_is_divided_by_the_weights():
    assert rows_of({"a": 1, "b": 3}, total=100) == pytest.approx({"a": 25, "b": 75})
    assert rows_of(total=100) == pytest.approx({"a": 20, "b": 80})


def test_rows_are_whole_passes_and_the_first_of_the_rest():
    lengths = np.array([5, 5, 5], dtype=np.int32)
    assert taken(lengths, 2, MixBy.rows).tolist() == [0, 1]
    assert taken(lengths, 3, MixBy.rows).tolist() == [0, 1, 2]
    assert taken(lengths, 7, MixBy.rows).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert taken(lengths, 0.2, MixBy.rows).tolist() == [0]


def test_tokens_are_met_as_nearly_as_whole_rows_can():
    lengths = np.array([10, 1, 4], dtype=np.int32)
    assert taken(lengths, 15, MixBy.tokens).tolist() == [0, 1, 2]
    assert taken(lengths, 14.9999999, MixBy.tokens).tolist() == [0, 1, 2]
    assert taken(lengths, 12, MixBy.tokens).tolist() == [0, 1]
    assert taken(lengths, 30 + 9, MixBy.tokens).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert taken(lengths, 1, MixBy.tokens).tolist() == [0]


@pytest.fixture
def parts(tmp_path):
    made = {}
    for name, count in (("a", 3), ("b", 5)):
        rows = [{**pair, "response": f"{name}{pair['response']}"} for pair in pairs(count)]
        path = write_rows(tmp_path / f"{name}.jsonl", *rows)
        made[name] = prepare(local(path), byte_tokenizer(), cache=tmp_path / "cache").train
    return made


def test_a_row_of_a_mixture_is_that_of_its_part(parts):
    mixed = MixedDataset(parts, np.array([7, 0, 3]))
    for number, (name, row) in enumerate([("b", 4), ("a", 0), ("b", 0)]):
        part = parts[name]
        assert mixed.place(number) == (name, part, row)
        assert mixed[number]["input_ids"].tolist() == part[row]["input_ids"].tolist()
        assert mixed.response_ids(number).tolist() == part.response_ids(row).tolist()
        assert mixed.lengths[number] == part.lengths[row]
        assert mixed.label_counts[number] == part.label_counts[row]
        assert mixed.full_prompt_lengths[number] == part.full_prompt_lengths[row]
        assert mixed.source_row(number) == part.source_row(row)
        assert [one[number] for one in mixed.hashes()] == [one[row] for one in part.hashes()]
    assert mixed.numbers_of("a").tolist() == [1]
    assert mixed.numbers_of("b").tolist() == [0, 2]


def test_the_first_rows_in_turn_are_of_all_parts(parts):
    mixed = MixedDataset.in_turn(parts)
    assert [mixed.place(number)[0] for number in range(8)] == [*"abababbb"]
    assert sorted(mixed.order.tolist()) == [*range(8)]


def test_other_rows_have_another_key(parts):
    fewer = {**parts, "b": parts["b"].with_order(parts["b"].order[:2])}
    keys = {MixedDataset(one).cache_key for one in (parts, fewer)}
    assert len(keys) == 2
    assert MixedDataset(parts).cache_key in keys
