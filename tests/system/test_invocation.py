"""Commands in messages have the form in which the user started the program."""

import sys

import pytest

from anima_exp.system.invocation import command_line, program_length


@pytest.mark.parametrize(
    ("started", "line"),
    [
        ("/usr/bin/anima-exp", "anima-exp compare 'a b'"),
        (r"anima-exp.exe", "anima-exp compare 'a b'"),
        ("/lib/anima_exp/__main__.py", "python -m anima_exp compare 'a b'"),
        ("/lib/anima_exp/train.py", "python -m anima_exp.compare 'a b'"),
        ("", "python -m anima_exp.compare 'a b'"),
    ],
)
def test_a_command_is_written_as_the_user_would_type_it(monkeypatch, started, line):
    monkeypatch.setattr(sys, "argv", [started, "seed=1"])
    assert command_line("compare", ["a b"]) == line


def test_a_module_may_have_another_name_than_its_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert command_line("check") == "python -m anima_exp.self_check"
    assert command_line("data") == "python -m anima_exp.inspect_data"


@pytest.mark.parametrize(
    ("typed", "length"),
    [
        ("anima-exp train -m seed=1", 2),
        ("python -m anima_exp.train -m seed=1", 3),
        ("python -m anima_exp train -m seed=1", 4),
    ],
)
def test_the_program_is_told_from_its_arguments(typed, length):
    assert program_length(typed.split()) == length
