"""The rows of a batch, divided over processes."""

import numpy as np

from anima_exp.training.data_order import assign_rows_to_ranks


def test_every_row_has_one_process_and_their_tokens_are_alike():
    lengths = np.random.default_rng(0).integers(10, 500, size=(50, 16))
    lengths.sort(axis=1)  # as batches of similar length nearly are
    whose = assign_rows_to_ranks(lengths, 4)
    assert whose.shape == lengths.shape
    for row, batch in zip(whose, lengths, strict=True):
        assert sorted(np.bincount(row, minlength=4)) == [4, 4, 4, 4]
        tokens = np.bincount(row, weights=batch, minlength=4)
        assert tokens.max() < 1.2 * tokens.mean()


def test_one_process_has_all_rows():
    assert assign_rows_to_ranks(np.array([3, 1, 2]), 1).tolist() == [0, 0, 0]


def test_a_batch_that_does_not_divide_leaves_some_with_fewer():
    assert assign_rows_to_ranks(np.array([9, 8, 7, 6, 5]), 3).tolist() == [0, 1, 2, 2, 1]


def test_lengths_of_narrow_types_do_not_overflow():
    assert assign_rows_to_ranks(np.array([1, 60_000], dtype=np.uint16), 2).tolist() == [1, 0]
