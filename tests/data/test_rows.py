import numpy as np
import pytest

from anima_exp.data.rows import first, shuffled, split
from anima_exp.errors import DataError


@pytest.mark.parametrize("seed", [0, 42])
def test_the_split_is_that_of_the_datasets_library(seed):
    from datasets import Dataset

    library = Dataset.from_dict({"row": range(500)}).train_test_split(
        test_size=70, shuffle=True, seed=seed
    )
    train, heldout = split(np.arange(500), heldout=70, seed=seed)
    assert train.tolist() == list(library["train"]["row"])
    assert heldout.tolist() == list(library["test"]["row"])


def test_every_example_is_on_one_side():
    train, heldout = split(np.arange(50), heldout=7, seed=1)
    assert sorted([*train, *heldout]) == list(range(50))
    assert len(heldout) == 7


def test_a_smaller_choice_lies_inside_a_larger_one():
    order = shuffled(50, seed=42)
    assert set(first(order, 10)) < set(first(order, 30)) < set(first(order, None))


def test_another_seed_is_another_choice():
    assert not np.array_equal(shuffled(50, seed=1), shuffled(50, seed=2))


@pytest.mark.parametrize("heldout", [60, 50])
def test_holding_out_everything_names_the_setting_and_the_number(heldout):
    message = (
        f"^data.heldout_rows={heldout} leaves nothing to train on: there are 50 rows. "
        "Hold out fewer, for example data.heldout_rows=5.$"
    )
    with pytest.raises(DataError, match=message):
        split(np.arange(50), heldout=heldout, seed=0)


def test_all_wordings_of_one_row_stay_on_one_side():
    rows = np.repeat(np.arange(20), [1, 4] * 10)
    train, heldout = split(rows, heldout=5, seed=0)
    assert sorted([*train, *heldout]) == list(range(len(rows)))
    assert len(set(rows[heldout])) == 5
    assert not set(rows[heldout]) & set(rows[train])
