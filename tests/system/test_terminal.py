"""What strangers wrote cannot steer the terminal, and no module prints past system/terminal.py."""

import ast
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.live import Live
from rich.table import Table

import anima_exp
from anima_exp.system import terminal

PACKAGE = Path(anima_exp.__file__).parent
# The embedded base was trained by hand, and an answer is streamed as visible text.
PRINT_THEMSELVES = {
    # The list of commands and completions start in a tenth of a second, and print our own texts.
    "cli/overview.py",
    "cli/completion.py",
    "diagnostics/probe.py",
    "system/terminal.py",
    "tiny/pretrain/__main__.py",
    "tiny/pretrain/scores.py",
    "inference/chat.py",
}
NAME = "a\x1b[2J[red]b\x9b:smile:"
SHOWN = "a\\x1b[2J[red]b\\x9b:smile:"


PRINTS = {"print", "sys.stdout.write", "sys.stderr.write", "Text.from_markup"}
NEEDS = {"Live": "console", "progress.Progress": "console", "track": "console"}
NEEDS |= {"TextColumn": "markup", "progress.TextColumn": "markup"}


def printed(path):
    """The line of each call that prints without system/terminal.py."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {keyword.arg for keyword in node.keywords}
            own = called in PRINTS or called.split(".")[-1] == "Console"
            if own or (called in NEEDS and NEEDS[called] not in given):
                yield f"{path.name}:{node.lineno} {called}"


def test_no_module_prints_past_the_terminal():
    files = [p for p in PACKAGE.rglob("*.py")]
    assert len(files) > 100
    files = [p for p in files if p.relative_to(PACKAGE).as_posix() not in PRINT_THEMSELVES]
    assert [one for path in files for one in printed(path)] == []


def test_the_check_would_notice(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "import rich\nprint(1)\nrich.Console()\nsys.stderr.write('')\n"
        "TextColumn('a')\nLive(table)\nLive(table, console=screen)\n"
    )
    assert len(list(printed(path))) == 5


def test_a_console_shows_control_characters_and_interprets_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    console = terminal.console(width=80)
    table = Table(NAME)
    table.add_row(NAME)
    console.print(NAME)
    console.print(table)
    assert sys.stdout.getvalue().count(SHOWN) == 3
    assert "\x1b" not in sys.stdout.getvalue()


def test_a_live_table_still_moves_the_cursor(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with Live(NAME, console=terminal.console(width=80), auto_refresh=False) as live:
        live.update(f"{NAME}\nsecond", refresh=True)
        live.update(NAME, refresh=True)
    written = sys.stdout.getvalue()
    assert SHOWN in written
    assert "\x1b[2K" in written and "\x1b[2J" not in written


@pytest.mark.parametrize("say", [terminal.print_stderr, terminal.note, terminal.write])
def test_each_function_prints_visible_text(say, capsys):
    say(NAME)
    out, err = capsys.readouterr()
    assert SHOWN in out + err
    assert "\x1b" not in out + err


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("data", ["data=local", f"data.path='{NAME}.json'"]),
        ("train", [f"lora.rank='{NAME}'"]),
        ("generate", ["adapter=adapter", "question=hi"]),
        ("compare", [NAME]),
    ],
    ids=["a file", "a value", "an adapter's base", "a folder"],
)
def test_a_name_in_an_error_cannot_steer_the_terminal(tmp_path, command, arguments):
    (tmp_path / "adapter").mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": f"/{NAME}", "r": 4}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    run = subprocess.run(
        [sys.executable, "-m", f"anima_exp.{command}", *arguments],
        capture_output=True,
        cwd=tmp_path,
    )
    assert (run.returncode, run.stdout) == (1, b"")
    error = run.stderr.decode()
    assert error.startswith("anima_exp: ") and error.count("\n") == 1
    assert SHOWN in error and error.rstrip("\n").isprintable()
