"""An adapter's files: read from a folder or the hub's cache, and never run."""

import json
import os
import pickle
import time

import pytest
import torch
from huggingface_hub import errors

from anima_exp.errors import ModelError
from anima_exp.libraries import hub as hub_files
from anima_exp.model import adapter_files

pytestmark = pytest.mark.usefixtures("shown")

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    return tmp_path / "a"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub's cache on this machine, laid out as its library does."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))

    def _repository(name, **files):
        repository = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(COMMIT)
        snapshot = repository / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        (snapshot / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8}')
        torch.save({"x": torch.ones(2)}, snapshot / "adapter_model.bin")
        return snapshot

    return _repository


def test_a_pickle_that_would_run_something_is_refused_and_not_run(folder, tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harmed"),)

    weights = {"base_model.model.x.lora_A.weight": Harmful()}
    torch.save(weights, folder / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"which could run code\. Nothing in it was run\."):
        adapter_files.weights(str(folder))
    assert not (tmp_path / "harmed").exists()
    torch.load(folder / "adapter_model.bin", weights_only=False)
    assert (tmp_path / "harmed").exists(), "the pickle is harmless: this test would show nothing"


def test_a_bare_pickle_is_refused_too(folder, tmp_path):
    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harmed"),)

    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Harmful(), protocol=2))
    with pytest.raises(ModelError, match=r"adapter_model\.bin is damaged, or holds more"):
        adapter_files.weights(str(folder))
    assert not (tmp_path / "harmed").exists()


def test_only_tensors_by_name_are_weights(folder):
    torch.save({"x": [1, 2]}, folder / "adapter_model.bin")
    with pytest.raises(ModelError, match="does not hold weights by name"):
        adapter_files.weights(str(folder))


def test_safetensors_win_over_a_pickle(folder):
    from safetensors.torch import save_file

    torch.save({"x": torch.zeros(2)}, folder / "adapter_model.bin")
    save_file({"x": torch.ones(2)}, folder / "adapter_model.safetensors")
    assert adapter_files.weights(str(folder))["x"].tolist() == [1, 1]


def test_damaged_or_missing_files_are_one_line(folder):
    with pytest.raises(ModelError, match="holds no weights: neither adapter_model"):
        adapter_files.weights(str(folder))
    (folder / "adapter_model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(ModelError, match=r"^extra_adapters=\S+: its weights cannot be read: "):
        adapter_files.weights(str(folder), key="extra_adapters")
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"its adapter_config\.json cannot be read"):
        adapter_files.settings(str(folder))
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="names no peft_type"):
        adapter_files.settings(str(folder))


def test_what_is_no_adapter_says_what_it_is(tmp_path):
    with pytest.raises(ModelError, match="there is no such folder, and it is not a hub id"):
        adapter_files.settings(f"{tmp_path}/nowhere")
    (tmp_path / "config.json").touch()
    with pytest.raises(ModelError, match="It is a full model: use model=local"):
        adapter_files.settings(str(tmp_path))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").touch()
    with pytest.raises(ModelError, match=rf"Use run={tmp_path} or adapter={tmp_path}/adapter\."):
        adapter_files.settings(str(tmp_path))


def test_a_download_of_before_serves_offline(hub):
    hub("org/adapter")
    assert adapter_files.settings("org/adapter") == {"peft_type": "LORA", "r": 8}
    assert adapter_files.weights("org/adapter")["x"].tolist() == [1, 1]


def test_without_a_network_it_is_one_line_at_once(monkeypatch, hub):
    def unreachable(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(hub_files, "unreachable", lambda: None)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", unreachable)
    begun = time.monotonic()
    with pytest.raises(ModelError, match=r"^adapter=org/none: no such folder, and the hub cannot"):
        adapter_files.settings("org/none")
    assert time.monotonic() - begun < 5


def test_a_copy_of_before_is_told_where_the_hub_is_silent(monkeypatch, hub, capsys):
    def unreachable(*_, **__):
        raise OSError("Name or service not known")

    hub("org/known")
    monkeypatch.setattr(hub_files, "unreachable", lambda: None)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", unreachable)
    adapter_files.settings("org/known")
    adapter_files.settings("org/known")
    told = capsys.readouterr().err
    assert told.count("an earlier download is used") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (errors.RepositoryNotFoundError, "the hub has no such repository, or it is private"),
        (errors.GatedRepoError, "Accept its licence on the hub"),
        (errors.RemoteEntryNotFoundError, "is not an adapter: it holds no adapter_config.json"),
    ],
)
def test_what_the_hub_answers_is_told(monkeypatch, hub, error, line):
    def answers(*_, **__):
        raise error.__new__(error)

    monkeypatch.setattr(hub_files, "unreachable", lambda: None)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", answers)
    with pytest.raises(ModelError, match=line):
        adapter_files.settings("org/name")


def test_settings_are_what_the_file_says(folder):
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 3}))
    assert adapter_files.settings(str(folder))["r"] == 3


def test_what_can_be_no_name_on_the_hub_is_one_line():
    with pytest.raises(
        ModelError, match=r"^model\.source=\./x: there is no such folder, and it is"
    ):
        hub_files.file("./x", "config.json", where="model.source=./x")


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (torch.zeros(0), "1 of its 2 weights are empty. DeepSpeed ZeRO-3 saves them so"),
        (torch.zeros(2, dtype=torch.int8), "x is of type int8, not floating-point numbers."),
        (torch.zeros(2, dtype=torch.complex64), "x is of type complex64, not floating-point"),
        (torch.zeros(2, device="meta"), "x has no values: it was saved from the meta device."),
        (torch.tensor([1, float("nan")]), "x holds NaN or infinite values"),
        (torch.tensor([1, float("-inf")]).half(), "x holds NaN or infinite values"),
    ],
    ids=["empty", "int", "complex", "meta", "nan", "inf"],
)
def test_weights_that_are_no_plain_numbers_are_refused(folder, odd, reason):
    torch.save({"x": odd, "y": torch.ones(2)}, folder / "adapter_model.bin")
    with pytest.raises(ModelError) as error:
        adapter_files.weights(str(folder))
    assert str(error.value).startswith(f"adapter={folder}: {reason}")


@pytest.mark.parametrize(
    ("left", "name"),
    [
        ("base_model.model._orig_mod.a.lora_A.default.weight", "base_model.model.a.lora_A.weight"),
        ("module.base_model.model.a.lora_B.weight", "base_model.model.a.lora_B.weight"),
        ("b.lora_magnitude_vector.default.weight", "b.lora_magnitude_vector.weight"),
        ("b.lora_embedding_A.default", "b.lora_embedding_A"),
        ("c.lm_head.modules_to_save.default.weight", "c.lm_head.weight"),
        ("c.default.weight", "c.default.weight"),
    ],
)
def test_names_of_other_trainers_become_peft_s(left, name):
    assert adapter_files.plain_name(left) == name
