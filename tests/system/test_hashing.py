"""A file's hash is that of all its bytes, and a large file is read only when it has changed."""

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from anima_exp.results.provenance import folder_fingerprint
from anima_exp.system import hashing

pytestmark = pytest.mark.usefixtures("shown")


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch):
    """Files above 1,000 bytes count as large, and every file as unchanged for some time."""
    monkeypatch.setattr(hashing, "LARGE", 1000)
    monkeypatch.setattr(hashing, "_SETTLED_NS", -1)
    forget(monkeypatch)


def forget(monkeypatch):
    """Begin as a new process."""
    monkeypatch.setattr(hashing, "_known", {})


@pytest.fixture
def reads(monkeypatch):
    """The files that are read, in order."""
    found = []
    read = hashing._read
    monkeypatch.setattr(
        hashing, "_read", lambda place, *rest: (found.append(place), read(place, *rest))[1]
    )
    return found


def large(folder, middle=b"a"):
    path = folder / "model.safetensors"
    path.write_bytes(b"0" * 5000 + middle + b"0" * 5000)
    return path


def test_a_change_in_the_middle_of_a_large_file_is_another_model(tmp_path):
    large(tmp_path, b"a")
    one = folder_fingerprint(tmp_path, cache=tmp_path / "cache")
    large(tmp_path, b"b")
    assert folder_fingerprint(tmp_path, cache=tmp_path / "cache") != one


def test_a_change_that_keeps_size_and_time_of_the_file_is_seen(tmp_path):
    path = large(tmp_path)
    before = path.stat()
    one = hashing.sha256(path, cache=tmp_path / "cache")
    time.sleep(0.02)  # longer than one tick of the file system's clock
    with path.open("r+b") as file:
        file.seek(5000)
        file.write(b"b")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert hashing.sha256(path, cache=tmp_path / "cache") != one


def test_the_fingerprint_of_small_files_is_what_it_always_was(tmp_path):
    (tmp_path / "b.json").write_text("{}")
    (tmp_path / "a.safetensors").write_bytes(b"weights")
    (tmp_path / "notes.md").write_text("not of the model")
    text = b"a.safetensors:7:weights" + b"b.json:2:{}"
    expected = f"sha256:{hashlib.sha256(text).hexdigest()}"
    assert folder_fingerprint(tmp_path) == expected


def test_a_large_file_is_read_once_by_all_processes(tmp_path, monkeypatch, reads):
    path = large(tmp_path)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    for _ in range(2):
        forget(monkeypatch)
        assert hashing.sha256(path, cache=tmp_path / "cache") == expected
    assert reads == [str(path)]


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path, monkeypatch, reads):
    monkeypatch.setattr(hashing, "_SETTLED_NS", 10**9)
    path = large(tmp_path)
    for _ in range(2):
        hashing.sha256(path, cache=tmp_path / "cache")
    assert len(reads) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"sha256": 5}', "flipped", "nested"])
def test_a_damaged_entry_is_no_hash(tmp_path, monkeypatch, damage):
    path = large(tmp_path)
    expected = hashing.sha256(path, cache=tmp_path / "cache")
    (entry,) = (tmp_path / "cache" / "hashes").glob("*.json")
    text = entry.read_text()
    if damage == "flipped":
        other = "0" if expected[0] != "0" else "1"
        damage = text.replace(expected, other + expected[1:])
    entry.write_text("[" * 100_000 if damage == "nested" else damage)
    forget(monkeypatch)
    assert hashing.sha256(path, cache=tmp_path / "cache") == expected


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    path = large(tmp_path)
    (tmp_path / "cache").write_text("a file where the folder should be")
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert hashing.sha256(path, cache=tmp_path / "cache") == expected


def test_threads_that_hash_one_file_at_once_read_it_once(tmp_path, reads):
    path = large(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: hashing.sha256(path, cache=tmp_path / "cache"), range(16)))
    assert found == {hashlib.sha256(path.read_bytes()).hexdigest()}
    assert len(reads) == 1
    (entry,) = (tmp_path / "cache" / "hashes").glob("*.json")
    assert json.loads(entry.read_text())["size"] == 10_001
    assert not list((tmp_path / "cache" / "hashes").glob(".*.part"))


def test_hashing_many_bytes_is_announced_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(hashing, "_ANNOUNCED", 2000)
    path = large(tmp_path)
    for _ in range(2):
        hashing.sha256(path, cache=tmp_path / "cache")
    assert capsys.readouterr().err == (
        f"hashing the 0.0 GB of {tmp_path} (only once: {tmp_path}/cache/hashes keeps the hashes)\n"
    )


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "pytorch_model.bin", "config.json", "tokenizer.model", "merges.txt"],
)
@pytest.mark.parametrize("size", [600, 3000])  # hashed with the folder, and by itself
def test_two_models_that_differ_in_one_byte_anywhere_have_two_names(
    tmp_path, monkeypatch, name, size
):
    monkeypatch.setattr(hashing, "_SETTLED_NS", 10**15)  # written within one clock tick
    seen = set()
    for place in (None, 0, size // 2, size - 1):
        content = bytearray(size)
        if place is not None:
            content[place] = 1
        (tmp_path / name).write_bytes(content)
        seen.add(folder_fingerprint(tmp_path, cache=tmp_path / "cache"))
    assert len(seen) == 4


@pytest.mark.parametrize("field", ["size", "mtime_ns", "inode"])
def test_a_remembered_hash_counts_only_for_the_same_state(tmp_path, monkeypatch, reads, field):
    path = large(tmp_path)
    one = hashing.sha256(path, cache=tmp_path / "cache")
    [entry] = (tmp_path / "cache" / "hashes").glob("*.json")
    state = hashing.State.of(path.stat())
    other = replace(state, **{field: getattr(state, field) + 1})
    content = hashing._content(str(path), other, "0" * 64)  # of another file in its place
    entry.write_text(json.dumps(content))
    forget(monkeypatch)
    assert hashing.sha256(path, cache=tmp_path / "cache") == one
    assert len(reads) == 2
