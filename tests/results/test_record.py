import json

import pytest

from anima_exp.errors import RunError
from anima_exp.results.record import Record

VALUES = {
    "name": "n", "settings": {"seed": 0}, "scores": {"loss": 1.5}, "scores_before": {}, "steps": 1,
    "tokens": 2, "rows": {"train": 3}, "parameters": {"total": 4}, "train_seconds": 5,
    "eval_seconds": 0.5, "peak_memory_gib": 1, "starts": 1, "finished": "now",
    "data_fingerprint": "d", "base_fingerprint": "b",
}  # fmt: skip


def load(folder, **changed):
    (folder / "record.json").write_text(json.dumps(VALUES | changed))
    return Record.load(folder)


def test_a_record_is_read_as_it_was_written(tmp_path):
    record = load(tmp_path, wandb=None, tokens_by_process=[1, 2], of_a_later_version=1)
    assert record.tokens_by_process == [1, 2] and record.train_seconds == 5
    record.save(tmp_path)
    assert Record.load(tmp_path) == record


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"scores": []}, "its scores is a list"),
        ({"scores": {"loss": "1.5"}}, "its scores is an object"),
        ({"steps": None}, "its steps is null"),
        ({"steps": True}, "its steps is true or false"),
        ({"name": 5}, "its name is a number"),
        ({"tokens_by_process": ["a"]}, "its tokens_by_process is a list"),
    ],
)
def test_a_field_of_another_type_is_no_record(tmp_path, changed, reason):
    with pytest.raises(RunError, match=reason):
        load(tmp_path, **changed)


def test_a_field_that_is_missing_is_named(tmp_path):
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(RunError, match="its name is missing"):
        Record.load(tmp_path)
