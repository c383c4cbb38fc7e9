"""How the commands end that are not Hydra's: elo and compare."""

import subprocess
import sys

import pytest

from anima_exp.cli.program import console, status
from anima_exp.errors import DataError


def test_work_that_ends_is_0(capsys):
    assert status(lambda: None) == 0
    assert capsys.readouterr().err == ""


def test_a_mistake_is_one_line_that_cannot_steer_the_terminal(capsys):
    def mistaken():
        raise DataError("no player \x1b[2J\nof that name")

    assert status(mistaken) == 1
    assert capsys.readouterr().err == "anima_exp: no player \\x1b[2J of that name\n"


def test_a_file_that_may_not_be_read_is_one_line(capsys):
    def refused():
        raise PermissionError(13, "Permission denied", "/data/a.json")

    assert status(refused) == 1
    assert capsys.readouterr().err == (
        "anima_exp: /data/a.json cannot be used: Permission denied. Change its permissions or "
        "those of the folders above it, or choose another path.\n"
    )


def test_a_bug_in_permissions_stays_a_bug():
    def refused():
        raise PermissionError(1, "Operation not permitted")  # no file: of a signal, say

    with pytest.raises(PermissionError):
        status(refused)


def test_a_reader_who_has_seen_enough_is_no_mistake():
    code = """
import sys
from anima_exp.cli.program import status
sys.exit(status(lambda: print("many lines\\n" * 100_000)))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_pipe_has_room_for_a_wide_table(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == 160
    monkeypatch.setenv("COLUMNS", "70")
    assert console().width == 70
