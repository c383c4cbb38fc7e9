import numpy as np
import pytest

from anima_exp.training.data_order import row_order

LENGTHS = np.random.default_rng(0).integers(5, 500, size=1000).astype(np.int32)


def order(rows=1000, seed=0, group_by_length=True, batch_size=4, lengths=LENGTHS):
    return row_order(
        lengths, rows=rows, batch_size=batch_size, seed=seed, group_by_length=group_by_length
    )


@pytest.mark.parametrize("grouped", [True, False])
def test_every_row_comes_once_a_pass(grouped):
    seen = order(rows=2000, group_by_length=grouped)
    assert sorted(seen[:1000]) == list(range(1000))
    assert sorted(seen[1000:]) == list(range(1000))


def test_passes_differ_and_seeds_differ():
    seen = order(rows=2000)
    assert list(seen[:1000]) != list(seen[1000:])
    assert list(order(seed=1)) != list(order(seed=0))
    assert list(order(seed=1)) == list(order(seed=1))


def test_a_longer_run_begins_like_a_shorter_one():
    assert list(order(rows=1500)[:400]) == list(order(rows=400))


def test_rows_of_a_batch_are_of_similar_length():
    def padding(rows):
        batches = LENGTHS[rows].reshape(-1, 4)
        return (batches.max(axis=1, keepdims=True) - batches).sum()

    assert padding(order()) < 0.1 * padding(order(group_by_length=False))


def test_the_longest_row_comes_first_so_that_a_run_too_large_fails_at_once():
    assert LENGTHS[order()[0]] == LENGTHS.max()


def test_fewer_rows_than_a_batch_still_make_batches():
    seen = order(rows=12, lengths=LENGTHS[:3])
    assert sorted(seen[:3]) == [0, 1, 2] and len(seen) == 12
