"""anima-exp alone lists the commands, and with a command it runs that command's module."""

import re
import subprocess
import sys
import time
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from anima_exp import __main__ as program
from anima_exp.cli import overview
from anima_exp.cli.commands import COMMANDS, find

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def run(monkeypatch, capsys):
    """run(*arguments): exit status, stdout and stderr of `anima-exp ARGUMENTS`."""

    def _run(*arguments):
        monkeypatch.setattr(sys, "argv", ["anima-exp", *arguments])
        try:
            program.main()
            status = 0
        except SystemExit as ended:
            status = ended.code
        told = capsys.readouterr()
        return status, told.out, told.err

    return _run


def test_without_a_command_every_command_is_listed_with_an_example(run):
    status, text, errors = run()
    assert (status, errors) == (0, "")
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", text, re.MULTILINE)
        assert f"anima-exp {name}" in text
    assert run("--help")[1] == text


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_list_fits_the_terminal_and_a_screen(width):
    lines = overview.text(width).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= 50
    assert "\x1b" not in overview.text(width)  # colours are for a terminal


def test_the_list_answers_at_once():
    code = "import sys; sys.argv = ['anima-exp']\nfrom anima_exp.__main__ import main; main()\n"
    code += "print(len([m for m in sys.modules if m in ('omegaconf', 'hydra', 'yaml', 'rich')]))"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0"
    assert time.monotonic() - started < 2  # 0.06 s on a laptop


def test_the_version_is_that_of_the_package(run):
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert run("--version")[1] == f"anima-exp {version}\n"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("trian", "There is no command 'trian'. Did you mean 'train'?"),
        ("self-chek", "There is no command 'self-chek'. Did you mean 'check'?"),
        ("xyzzy", "There is no command 'xyzzy'. `anima-exp` lists the commands."),
        ("seed=1", "There is no command 'seed=1'. A setting comes after a command: "
                   "anima-exp train seed=1"),
        ("-m", "There is no option -m before a command. `anima-exp` lists the commands."),
    ],
)  # fmt: skip
def test_an_unknown_command_is_one_line_with_what_was_meant(run, name, told):
    assert run(name) == (2, "", f"anima_exp: {told}\n")


def test_a_module_of_the_package_may_be_named_as_well():
    assert find("self_check") is COMMANDS["check"]
    assert find("inspect_data") is COMMANDS["data"]
    assert find("nothing") is None


def test_every_command_is_a_module_with_a_main():
    for command in COMMANDS.values():
        assert callable(import_module(f"anima_exp.{command.module}").main), command.name


def test_a_command_gets_its_own_arguments_and_its_status_counts(run, monkeypatch):
    seen = []

    def main():
        seen.append(sys.argv[1:])
        return 3

    monkeypatch.setattr(import_module("anima_exp.doctor"), "main", main)
    assert run("doctor", "format=json")[0] == 3
    assert seen == [["format=json"]]


def test_a_reader_who_has_seen_enough_is_no_mistake():
    command = [sys.executable, "-m", "anima_exp"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_program_is_installed_under_its_name():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"anima-exp": "anima_exp.__main__:main"}
