import sys
from types import SimpleNamespace

import pytest
from support.byte_tokenizer import local, pairs, write_rows

from anima_exp.config import DataConfig
from anima_exp.data import source
from anima_exp.errors import DataError


def hub(**settings):
    return DataConfig(name="x", recipe="alpaca", source="someone/set", **settings)


@pytest.fixture
def library(monkeypatch):
    """The datasets library, as far as we ask it, with one set of ten rows."""
    asked = []

    def load_dataset(**options):
        asked.append(options)
        return [{"n": n} for n in range(10)]

    def load_dataset_builder(**options):
        if options["revision"] == "gone":
            raise FileNotFoundError("Revision 'gone' doesn't exist.\nmore lines")
        return SimpleNamespace(
            cache_dir=f"/home/x/someone___set/default/0.0.0/{options['revision']}"
        )

    fake = SimpleNamespace(load_dataset=load_dataset, load_dataset_builder=load_dataset_builder)
    monkeypatch.setitem(sys.modules, "datasets", fake)
    monkeypatch.setattr(source.hub, "check_data_set", lambda *_, **__: None)
    return asked


def test_a_files_fingerprint_is_that_of_its_content(tmp_path):
    first = write_rows(tmp_path / "a.jsonl", *pairs(3))
    same = write_rows(tmp_path / "b.jsonl", *pairs(3))
    other = write_rows(tmp_path / "c.jsonl", *pairs(4))
    assert source.fingerprint(local(first)) == source.fingerprint(local(same))
    assert source.fingerprint(local(first)) != source.fingerprint(local(other))
    assert source.fingerprint(local(first)) != source.fingerprint(local(first, max_rows=2))


def test_the_fingerprint_covers_rows_held_out_from_another_file(tmp_path):
    train = write_rows(tmp_path / "a.jsonl", *pairs(3))
    test = write_rows(tmp_path / "b.jsonl", *pairs(2))
    with_test = local(train, heldout_path=str(test), heldout_rows=1)
    assert source.fingerprint(with_test) != source.fingerprint(local(train))


def test_data_rows_keeps_the_first(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", *pairs(3))
    assert [number for number, _ in source.training_source(local(path, max_rows=2)).read()] == [
        1,
        2,
    ]


def test_no_rows_are_held_out_of_a_second_source_when_none_are_wanted(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", *pairs(3))
    assert (
        source.validation_source(local(path, heldout_path="missing.jsonl", heldout_rows=0)) is None
    )


def test_a_file_has_no_splits(tmp_path):
    path = write_rows(tmp_path / "a.jsonl", *pairs(3))
    message = (
        "^data.heldout_split=test names a split of a hub data set, but "
        f"data.path={path} is a file. Use data.heldout_path=FILE.$"
    )
    with pytest.raises(DataError, match=message):
        source.validation_source(local(path, heldout_split="test", heldout_rows=1))


def test_the_sample_has_two_parts_that_share_no_row():
    config = DataConfig(
        name="sample",
        recipe="guanaco",
        source="sample",
        max_rows=50,
        heldout_split="test",
        heldout_rows=20,
    )
    train, heldout = source.training_source(config), source.validation_source(config)
    asked = {row["instruction"] for _, row in train.read()}
    kept = {row["instruction"] for _, row in heldout.read()}
    assert (len(asked), len(kept)) == (50, 20)
    assert not asked & kept
    assert train.fingerprint == source.training_source(config).fingerprint


def test_the_sample_of_conversations_is_read_as_messages():
    config = DataConfig(
        source="sample_chat", max_rows=30, heldout_split="test", heldout_rows=10, recipe="messages"
    )
    train, heldout = source.training_source(config), source.validation_source(config)
    assert [len(list(of.read())) for of in (train, heldout)] == [30, 10]
    assert all(row["messages"][0]["role"] == "user" for _, row in train.read())
    assert train.locate(2) == "sample_chat (train), row 2"
    assert train.fingerprint != heldout.fingerprint


@pytest.mark.parametrize("name", ["sample", "sample_chat"])
def test_a_sample_needs_a_number_and_a_known_part(name):
    with pytest.raises(DataError, match=r"Set how many to use, for example data\.max_rows=4000\.$"):
        source.training_source(DataConfig(source=name))
    with pytest.raises(DataError, match=f"={name} has the splits train and test, not 'dev'"):
        source.training_source(DataConfig(source=name, max_rows=5, split="dev"))


def test_a_hub_set_is_known_by_its_commit_before_it_is_downloaded(library):
    one, other = (
        source.training_source(hub(revision="abc")),
        source.training_source(hub(revision="def")),
    )
    assert one.fingerprint != other.fingerprint
    assert library == []
    assert next(iter(one.read())) == (1, {"n": 0})
    assert one.locate(3) == "someone/set (train), row 3"


def test_the_first_rows_of_a_hub_set_are_streamed(library):
    rows = list(source.training_source(hub(max_rows=4)).read())
    assert [row["n"] for _, row in rows] == [0, 1, 2, 3]
    assert library[0]["streaming"] is True and library[0]["split"] == "train"


def test_a_hub_set_that_does_not_answer_is_one_line_with_the_ways_out(library):
    with pytest.raises(DataError) as caught:
        source.training_source(hub(revision="gone"))
    assert str(caught.value) == (
        "data.source=someone/set (split train) cannot be loaded: Revision 'gone' doesn't exist. "
        "Check the id, data.subset and data.split. For a gated data set, run `hf auth login`. "
        "Without a network, use HF_HUB_OFFLINE=1 for a data set that was downloaded before, or "
        "data=local data.path=FILE."
    )


def test_without_a_network_a_set_that_was_never_downloaded_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "datasets", None)  # an import of it would fail
    with pytest.raises(DataError) as told:
        source.training_source(hub())
    assert str(told.value) == (
        "data.source=someone/set: no such folder, and HF_HUB_OFFLINE is set. "
        "Use data=local data.path=FILE, or try again with a network."
    )
