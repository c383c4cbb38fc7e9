import numpy as np
import pytest

from anima_exp.config import DataConfig
from anima_exp.data.orders import first, orders_of_read, shuffled, split
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


def of_files(rows, held, read, **settings):
    """The source rows of the training and the held-out examples, without a source of their own."""
    config = DataConfig(
        name="a", recipe="messages", max_prompt_tokens=8, max_response_tokens=8,
        prompt_template="chat", **settings,
    )  # fmt: skip
    rows, held = np.array(rows, dtype=int), np.array(held, dtype=int)
    order, held_order = orders_of_read(config, rows, held, read=np.array(read))
    return rows[order].tolist(), held[held_order].tolist()


def test_a_row_that_is_held_out_is_never_trained_on_if_other_rows_can_be_used():
    """Which conversations can be used depends on settings. The draw does not."""
    every = [*range(20)]
    _, all_held = of_files(every, every, every, heldout_rows=5)
    for usable in ([n for n in every if n % 3], every[5:], [n for n in every for _ in "ab"]):
        train, held = of_files(usable, usable, every, heldout_rows=5)
        assert {*held} == {*all_held} & {*usable}
        assert {*train} == {*usable} - {*all_held}


def test_another_reading_of_the_rows_is_held_out_in_the_same_rows():
    every = [*range(20)]
    twice = [n for n in every for _ in range(1 + n % 2)]
    _, all_held = of_files(every, every, every, heldout_rows=5)
    train, held = of_files(twice[3:], twice, every, heldout_rows=5)
    assert {*held} == {*all_held} and len(held) == sum(1 + n % 2 for n in all_held)
    assert not {*train} & {*held}


def test_a_draw_that_leaves_nothing_to_train_on_or_to_hold_out_is_an_error():
    every = [*range(4)]
    _, held = of_files(every, every, every, heldout_rows=2)
    with pytest.raises(DataError, match=r"^data\.heldout_rows=2 leaves nothing to train on: all"):
        of_files(sorted(held), every, every, heldout_rows=2)
    others = sorted({*every} - {*held})
    with pytest.raises(DataError, match=r"^data\.heldout_rows=2: none of the rows held out can"):
        of_files(others, others, every, heldout_rows=2)
    with pytest.raises(DataError, match=r"^data\.heldout_rows=4 leaves nothing to train on: there"):
        of_files(every, every, every, heldout_rows=4)
