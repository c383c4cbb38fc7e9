"""How long rows are is known from an earlier run, else typical, else as long as the limits."""

from anima_exp import paths
from anima_exp.plan.lengths import lengths
from anima_exp.results import known_lengths


def test_unknown_rows_are_as_long_as_the_limits(compose):
    found = lengths(compose("model=llama7b", "data=longform"))
    assert found.mean_tokens == 512 + 1024
    assert found.mean_labels == 1024
    assert "unknown" in found.told


def test_typical_rows_come_with_the_data(compose):
    config = compose("model=llama7b", "data=alpaca")
    found = lengths(config)
    assert found.mean_tokens == config.data.typical.mean_tokens
    assert found.rows == config.data.typical.rows


def test_what_a_run_has_read_wins(compose):
    config = compose("model=llama7b", "data=alpaca", "data.max_prompt_tokens=300")
    known = known_lengths.Lengths(rows=777, mean_tokens=50.0, mean_label_tokens=20.0)
    known_lengths.remember(config, known, cache=paths.cache(config.cache))
    found = lengths(config)
    assert (found.rows, found.mean_tokens, found.mean_labels) == (777, 50.0, 20.0)


def test_no_row_is_longer_than_the_limits(compose):
    config = compose(
        "model=llama7b", "data=alpaca", "data.max_prompt_tokens=10", "data.max_response_tokens=10"
    )
    found = lengths(config)
    assert found.mean_tokens == found.largest.longest == 20
    assert found.mean_labels <= 20


def test_learning_the_prompt_makes_every_token_a_label(compose):
    found = lengths(compose("model=llama7b", "data=alpaca", "data.train_on_source=true"))
    assert found.mean_labels == found.mean_tokens
    assert found.largest.batch_labels == found.largest.batch_tokens


def test_rows_of_one_length_make_the_longest_batch(compose):
    grouped = lengths(compose("model=llama7b", "data=alpaca"))
    mixed = lengths(compose("model=llama7b", "data=alpaca", "trainer.group_by_length=false"))
    assert grouped.largest.batch_tokens == 16 * 512
    assert mixed.largest.batch_tokens < grouped.largest.batch_tokens


def test_epochs_are_steps_where_rows_are_known(compose):
    epochs = ("trainer.epochs=2", "trainer.steps=null", "data.max_train_samples=160")
    known = compose("model=llama7b", "data=alpaca", *epochs)
    assert lengths(known).steps(known) == 20
    unknown = compose("model=llama7b", "data=longform", *epochs)
    assert lengths(unknown).steps(unknown) is None
