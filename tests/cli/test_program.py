"""How the commands end that are not Hydra's: elo and compare."""

import os
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


def after_the_first_line(code, *, stderr, **variables):
    """The exit status of a program whose reader closes the pipe after a line, and its errors."""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, **variables},
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read() if process.stderr else b""
    return process.returncode, errors


PRINT = """
import sys
from anima_exp.cli.program import console, status
from anima_exp.system.terminal import print_stderr

def work():
    for _ in range(300):
        {}

sys.exit(status(work))
"""


@pytest.mark.parametrize("how", ['print("a line " * 100)', 'console().print("a line " * 100)'])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_who_has_seen_enough_is_no_mistake(how, unbuffered):
    ended = after_the_first_line(
        PRINT.format(how), stderr=subprocess.PIPE, PYTHONUNBUFFERED=unbuffered
    )
    assert ended == (0, b"")


def test_nor_is_one_of_both_streams():
    code = PRINT.format('print("a line " * 100, flush=True); print_stderr("another " * 100)')
    assert after_the_first_line(code, stderr=subprocess.STDOUT) == (0, b"")


def test_a_pipe_has_room_for_a_wide_table(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == 160
    monkeypatch.setenv("COLUMNS", "70")
    assert console().width == 70
