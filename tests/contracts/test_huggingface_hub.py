"""huggingface_hub still has what libraries/huggingface_hub_internals.py uses."""

import socket
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

from anima_exp.libraries.huggingface_hub_internals import commit_of, offline


@pytest.fixture
def online(monkeypatch, tmp_path):
    """As with a network; but nothing may leave this machine."""
    import datasets.config

    def refuse(*_, **__):
        raise AssertionError("it asks the network")

    for one in (constants, datasets.config):
        monkeypatch.setattr(one, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


def test_the_hub_library_asks_nobody_while_its_switch_is_set(online):
    with offline(), pytest.raises((LocalEntryNotFoundError, OfflineModeIsEnabled)):
        hf_hub_download("someone/something", "config.json", cache_dir=online)
    assert constants.HF_HUB_OFFLINE is False


def test_transformers_and_datasets_read_the_same_switches(online):
    import datasets.config
    from transformers.utils.hub import is_offline_mode

    assert not is_offline_mode()
    with offline():
        assert is_offline_mode()
        assert datasets.config.HF_HUB_OFFLINE is True
    assert datasets.config.HF_HUB_OFFLINE is False


def test_a_file_in_the_hubs_cache_lies_in_a_folder_named_by_its_commit(tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--someone--something"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text("{}")
    found = try_to_load_from_cache("someone/something", "config.json", cache_dir=tmp_path)
    assert commit_of(Path(found)) == commit
