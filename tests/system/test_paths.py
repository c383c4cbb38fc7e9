"""What this user may not see is not taken for what is not there."""

import os
from pathlib import Path

import pytest

from anima_exp.data import readers
from anima_exp.errors import RunError
from anima_exp.inference.saved_model import record
from anima_exp.model import adapter_files
from anima_exp.system.paths import is_file, is_folder


@pytest.fixture
def closed(tmp_path):
    """A folder with files in it that this process may not search."""
    folder = tmp_path / "closed"
    folder.mkdir()
    for name in ("a.json", "record.json", "adapter_config.json"):
        (folder / name).write_text("{}")
    folder.chmod(0)
    root = os.geteuid() == 0
    if root:  # who may search every folder
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o755)


def test_a_folder_that_cannot_be_searched_is_not_one_without_files(closed):
    for look in (is_file, is_folder):
        with pytest.raises(PermissionError):
            look(closed / "a.json")
    with pytest.raises(RunError, match=r"Cannot read .*record.json: Permission denied\. Make it"):
        record(closed)
    with pytest.raises(PermissionError):
        readers.find(str(closed / "a.json"), key="data.path")
    with pytest.raises(PermissionError):
        adapter_files.settings(str(closed))


def test_what_is_not_there_is_no_file(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "absent", tmp_path / "file" / "inside", Path("zero\0byte")):
        assert not is_file(path) and not is_folder(path)
    assert is_file(tmp_path / "file") and is_folder(tmp_path)
