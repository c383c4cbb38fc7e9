import os

import pytest

from anima_exp.errors import RunError
from anima_exp.system.atomic import atomic_write_text, disk_errors_as_run_error, replace_folder


def test_a_file_is_replaced_in_one_step(tmp_path):
    atomic_write_text(tmp_path / "a", "old")
    atomic_write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_folder_takes_the_place_of_another_whole(tmp_path):
    for name, text in (("draft", "new"), ("final", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(text)
    (tmp_path / "final" / "left-over").write_text("")
    replace_folder(tmp_path / "draft", tmp_path / "final")
    assert [path.name for path in (tmp_path / "final").iterdir()] == ["weights"]
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("PytorchStreamWriter failed"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 640 vs 598"),
        Exception("No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_line(tmp_path, error):
    with (
        pytest.raises(
            RunError, match=r"Cannot write to .*Then run the same command again to resume"
        ),
        disk_errors_as_run_error(tmp_path),
    ):
        raise error


def test_a_text_that_does_not_fit_leaves_nothing(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write_text(tmp_path / "a", "text")
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_published_folder_follow_the_umask(tmp_path):
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft").chmod(0o750)
    for name, mode in (("weights", 0o600), ("script", 0o700), ("open", 0o644)):
        (tmp_path / "draft" / name).write_text("")
        (tmp_path / "draft" / name).chmod(mode)
    replace_folder(tmp_path / "draft", tmp_path / "final")
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "final").iterdir()}
    assert modes == {"weights": "0o640", "script": "0o740", "open": "0o644"}


def test_a_bug_stays_a_bug(tmp_path):
    with pytest.raises(ZeroDivisionError), disk_errors_as_run_error(tmp_path):
        print(1 / 0)
