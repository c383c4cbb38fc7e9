import numpy as np
import pytest

from anima_exp.config import DataConfig
from anima_exp.data.rows import first, orders, shuffled, split
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


def of_files(rows, held, **settings):
    """The source rows of the training and the held-out examples, without a source of their own."""
    config = DataConfig(
        name="a", recipe="messages", max_prompt_tokens=8, max_response_tokens=8,
        prompt_template="chat", **settings,
    )  # fmt: skip
    rows, held = np.array(rows), np.array(held)
    order, held_order = orders(config, rows, held, own_source=False)
    return rows[order].tolist(), held[held_order].tolist()


def test_another_reading_of_the_rows_is_held_out_in_the_same_rows():
    """It decides alone. The other one may have more examples of a row, or none, or other rows."""
    held = [n for n in range(20) for _ in range(1 + n % 2)]
    same_train, same_held = of_files(held, held, heldout_rows=5)
    for rows in ([*range(20)], [n for n in range(20) if n % 3], [*range(25)]):
        train, kept = of_files(rows, held, heldout_rows=5)
        assert kept == same_held
        assert sorted(train) == sorted({*rows} - {*kept})
        first_seen = list(dict.fromkeys(same_train))
        assert [n for n in train if n < 20] == [n for n in first_seen if n in rows]


def test_a_reading_of_which_every_row_is_held_out_leaves_nothing_to_train_on():
    held = list(range(4))
    _, kept = of_files(held, held, heldout_rows=2)
    with pytest.raises(DataError, match=r"^data\.heldout_rows=2 leaves nothing to train on: all"):
        of_files(sorted(kept), held, heldout_rows=2)
