"""How long rows are is known from an earlier run, else typical, else as long as the limits."""

import pytest

from anima_exp.config import TrainerConfig
from anima_exp.errors import DataError
from anima_exp.experiment import overview
from anima_exp.planner import lengths as known_lengths
from anima_exp.planner.lengths import lengths, optimizer_steps, rows_in_all
from anima_exp.system import paths


def test_unknown_rows_are_as_long_as_the_limits(compose):
    found = lengths(compose("model=llama7b", "data=longform"))
    assert found.mean_tokens == 512 + 1024
    assert found.mean_labels == 1024
    assert "unknown" in found.source


def test_typical_rows_come_with_the_data(compose):
    config = compose("model=llama7b", "data=alpaca")
    found = lengths(config)
    assert found.mean_tokens == config.data.length_stats.mean_tokens
    assert found.rows == config.data.length_stats.rows


def test_what_a_run_has_read_wins(compose):
    config = compose("model=llama7b", "data=alpaca", "data.max_prompt_tokens=300")
    known = known_lengths.LengthStats(rows=777, mean_tokens=50.0, mean_label_tokens=20.0)
    known_lengths.save_stats(config, known, cache=paths.cache(config.cache_dir))
    found = lengths(config)
    assert (found.rows, found.mean_tokens, found.mean_labels) == (777, 50.0, 20.0)


def test_the_rows_of_a_local_file_are_read_by_the_plan_itself(compose, tmp_path):
    import json

    from tokenizers import Tokenizer

    from anima_exp.data.recipes import alpaca

    rows = [{"instruction": f"Add {n}.", "input": "", "output": "7" * (n + 1)} for n in range(20)]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    config = compose(
        "data=local", f"data.path={file}", "data.heldout_rows=5", "data.max_response_tokens=8",
        "trainer.max_steps=null", "trainer.num_epochs=2", "trainer.batch_size=4",
    )  # fmt: skip
    count = Tokenizer.from_file(str(paths.tiny_base() / "tokenizer.json")).encode
    pairs = [alpaca(row) for row in rows]
    prompts, responses = (
        [1 + len(count(getattr(pair, part), add_special_tokens=False)) for pair in pairs]
        for part in ("prompt", "response")
    )
    cut = [min(8, one) for one in responses]
    found = lengths(config)
    assert (found.rows, found.source, found.steps(config)) == (15, "read from the file", 8)
    assert found.mean_tokens == pytest.approx(sum(prompts + cut) / 20)
    assert found.mean_labels == pytest.approx(sum(cut) / 20)
    file.write_text("[]", encoding="utf-8")  # the settings that name it are other ones now
    with pytest.raises(DataError, match="contains no rows"):
        lengths(config)
    file.write_text(json.dumps(rows), encoding="utf-8")
    assert lengths(config).source == "read by an earlier run"


def test_a_local_file_without_a_tokenizer_here_stays_unknown(compose, tmp_path):
    (tmp_path / "rows.json").write_text("[]")
    config = compose("model=llama7b", "data=local", f"data.path={tmp_path / 'rows.json'}")
    assert "unknown" in lengths(config).source


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


def test_training_on_all_of_a_conversation_makes_every_token_a_label(compose):
    answers, all_text = (
        lengths(compose("data=sample_chat", f"data.train_on={on}")) for on in ("assistant", "all")
    )
    assert answers.mean_labels < 0.3 * answers.mean_tokens
    assert all_text.mean_labels == all_text.mean_tokens == answers.mean_tokens


def test_rows_of_one_length_make_the_longest_batch(compose):
    grouped = lengths(compose("model=llama7b", "data=alpaca"))
    mixed = lengths(compose("model=llama7b", "data=alpaca", "trainer.group_by_length=false"))
    assert grouped.largest.batch_tokens == 16 * 512
    assert mixed.largest.batch_tokens < grouped.largest.batch_tokens


def test_epochs_are_steps_where_rows_are_known(compose):
    epochs = ("trainer.num_epochs=2", "trainer.max_steps=null")
    known = compose("model=llama7b", "data=alpaca", *epochs, "data.max_train_rows=160")
    assert lengths(known).steps(known) == 20
    assert not lengths(known).upper_bound
    unknown = compose("model=llama7b", "data=longform", *epochs)
    assert lengths(unknown).steps(unknown) is None


@pytest.mark.parametrize(
    ("limits", "steps"),
    [
        (["data.max_train_rows=160"], 20),
        (["data.max_rows=80"], 10),
        (["data.max_train_rows=160", "data.max_rows=80"], 10),
    ],
)
def test_limits_bound_the_steps_where_rows_are_unknown(compose, limits, steps):
    config = compose(
        "model=llama7b", "data=longform", "trainer.num_epochs=2", "trainer.max_steps=null", *limits
    )
    found = lengths(config)
    assert found.steps(config) == steps
    assert found.upper_bound
    assert "which is an upper bound" in found.source


@pytest.mark.parametrize(
    ("epochs", "rows", "used", "steps"),
    [(2, 500, 1000, 63), (1, 23, 23, 2), (1, 32, 32, 2), (0.5, 23, 12, 1), (1.1, 1000, 1100, 69),
     (0.001, 5, 1, 1)],
)  # fmt: skip
def test_epochs_count_rows_exactly_and_the_last_batch_may_be_short(epochs, rows, used, steps):
    trainer = TrainerConfig(num_epochs=epochs, batch_size=16)
    assert rows_in_all(trainer, rows) == used
    assert optimizer_steps(trainer, rows) == steps


def test_a_run_that_repeats_rows_says_how_often():
    assert overview.steps(63, 16, used=1000, rows=500) == (
        "63 of 16 rows (the last has 8), 2.00 epochs (each row 2 times)"
    )
    assert overview.steps(10, 16, used=160, rows=64) == (
        "10 of 16 rows, 2.50 epochs (each row 2 or 3 times)"
    )
    assert overview.steps(4, 16, used=64, rows=64) == "4 of 16 rows, 1.00 epochs"
