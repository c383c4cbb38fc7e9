"""A finished run is measured on rows that it was not trained on, or not at all."""

import json

import pytest

from anima_exp.config import UseConfig
from anima_exp.data import source
from anima_exp.errors import DataError
from anima_exp.evals.heldout_check import check_heldout
from anima_exp.results import identity
from anima_exp.results.record import Record

pytestmark = pytest.mark.usefixtures("shown")


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "d.json", 10)
    return tmp_path / "d.json"


def write(file, count):
    rows = [{"instruction": f"{n}?", "input": "", "output": str(n)} for n in range(count)]
    file.write_text(json.dumps(rows), encoding="utf-8")


@pytest.fixture
def check(compose, tmp_path):
    """check(trained, asked): of a run with the settings `trained`, evaluated with `asked` too."""

    def _config(overrides):
        return compose(*overrides, "trainer.max_steps=1")

    def _trained(*trained):
        config = _config(trained)
        Record(
            name="x", settings=identity.flatten(config), scores={}, scores_before={}, steps=1,
            tokens=1, rows={}, parameters={}, train_seconds=0, eval_seconds=0, peak_memory_gib=0,
            starts=1, finished="", base_fingerprint="",
            data_fingerprint=source.fingerprint(config.data), places=identity.places(config),
        ).save(tmp_path)  # fmt: skip
        return lambda *asked: check_heldout(
            UseConfig(**vars(_config([*trained, *asked])), run=str(tmp_path))
        )

    return _trained


LOCAL = ("data=local", "data.path=d.json", "data.heldout_rows=4")


def test_a_file_that_grew_is_refused_with_the_ways_out(check, file, tmp_path):
    evaluated = check(*LOCAL)
    evaluated()
    write(file, 11)
    with pytest.raises(DataError) as told:
        evaluated()
    assert str(told.value) == (
        f"data.path=d.json has changed since {tmp_path} was trained, so rows of the training set "
        "would be held out. Restore the data, or evaluate on other rows with "
        "data.heldout_path=FILE."
    )
    write(file.with_name("other.json"), 3)
    evaluated("data.heldout_path=other.json")
    write(file, 10)
    evaluated()


@pytest.mark.parametrize(
    "asked", ["data.heldout_rows=5", "data.heldout_seed=1", "data.max_rows=9"]
)  # fmt: skip
def test_another_draw_is_refused(check, file, asked):
    key = asked.partition("=")[0]
    with pytest.raises(
        DataError, match=rf"^{asked} would hold out .* was trained with {key}="
    ) as told:
        check(*LOCAL)(asked)
    assert f"Leave {key} out" in str(told.value)


def test_fewer_rows_are_a_part_of_the_same_draw(check, file):
    check(*LOCAL)("data.heldout_rows=2")


def test_other_data_is_not_compared(check, file):
    write(file.with_name("other.json"), 3)
    check(*LOCAL)("data.path=other.json", "data.heldout_rows=100")


def test_rows_with_a_place_of_their_own_are_named_if_the_data_changed(check, file, capsys):
    write(file.with_name("own.json"), 3)
    evaluated = check(*LOCAL, "data.heldout_path=own.json")
    evaluated()
    assert capsys.readouterr().err == ""
    write(file, 11)
    evaluated()
    assert "held-out rows come from a separate source (data.heldout_path=own.json)" in (
        capsys.readouterr().err
    )
