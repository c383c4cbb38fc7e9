"""Memory, disks, tokens and servers become findings; no token's value is ever shown."""

import shutil
from collections import namedtuple

import pytest

from anima_exp.diagnostics import surroundings
from anima_exp.diagnostics.findings import Level

SECRET = "hf_not_for_the_screen"


def by_name(findings):
    return {one.name: one for one in findings}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder without any token, and none in the environment."""
    for name in ("HF_TOKEN", "HF_HOME", "XDG_CACHE_HOME", "WANDB_API_KEY", "OPENAI_API_KEY",
                 "OPENAI_BASE_URL", "NETRC", "WANDB_CONFIG_DIR"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_memory_and_cores_are_measured():
    findings = by_name(surroundings.memory())
    assert "GiB free" in findings["memory"].value
    assert int(findings["cores"].value.split()[0]) >= 1


def test_a_folder_that_does_not_exist_yet_is_measured_where_it_would_be(tmp_path):
    findings = by_name(surroundings.storage(str(tmp_path / "a/b/runs"), str(tmp_path / "cache")))
    assert findings["runs"].value.startswith(f"{tmp_path}/a/b/runs, ")
    assert findings["runs"].level in (Level.ok, Level.warning)


@pytest.mark.parametrize(
    ("free_gib", "level"), [(0.1, Level.broken), (5, Level.warning), (50, Level.ok)]
)
def test_a_disk_without_room_is_a_finding(tmp_path, monkeypatch, free_gib, level):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: usage(100 * 2**30, 0, int(free_gib * 2**30))
    )
    one = by_name(surroundings.storage(str(tmp_path), str(tmp_path)))["runs"]
    assert one.level is level
    assert bool(one.advice) == (level is not Level.ok)


def test_a_runs_folder_that_is_a_file_is_broken(tmp_path):
    (tmp_path / "runs").write_text("")
    one = by_name(surroundings.storage(str(tmp_path / "runs"), str(tmp_path)))["runs"]
    assert (one.level, one.value) == (Level.broken, f"{tmp_path}/runs is a file")


def test_the_size_of_the_cache_is_measured(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "large").write_bytes(b"x" * 2**20)
    one = by_name(surroundings.storage(str(tmp_path), str(cache)))["cache size"]
    assert one.value == f"0.0 GiB in {cache}"


def test_a_token_is_said_to_be_there_and_never_shown(home, monkeypatch):
    assert {one.value for one in surroundings.accounts()} == {"not set"}
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    findings = list(surroundings.accounts())
    assert {one.value for one in findings} == {"set"}
    assert SECRET not in str(findings)


def test_a_token_in_a_file_counts(home):
    (home / ".cache/huggingface").mkdir(parents=True)
    (home / ".cache/huggingface/token").write_text(SECRET)
    assert by_name(surroundings.accounts())["Hugging Face token"].value == "set"


def test_only_servers_that_are_configured_are_asked(home, monkeypatch):
    assert [*by_name(surroundings.network(ask=False))] == ["hub"]
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:secret@127.0.0.1:1/v1")
    assert [*by_name(surroundings.network(ask=False))] == ["hub", "judge server"]
    one = by_name(surroundings.network(ask=True))["judge server"]
    assert one.value.startswith("http://127.0.0.1:1/v1: ")
    assert one.advice


def test_a_server_that_does_not_answer_is_a_finding_after_seconds(home, monkeypatch, silent):
    address, _ = silent
    monkeypatch.setattr(surroundings, "_REACH_SECONDS", 0.2)
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    assert "timed out" in by_name(surroundings.network(ask=True))["judge server"].value


def test_the_hub_is_not_asked_offline(home):
    assert "HF_HUB_OFFLINE is set" in by_name(surroundings.network(ask=True))["hub"].value
