"""Nothing below a command prints, sets signal handlers, or changes environment and warnings."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import anima_exp

PACKAGE = Path(anima_exp.__file__).parent
# The commands, and the modules that are only their screens. All other modules are for Python too.
COMMANDS = (
    "train", "plan", "inspect_data", "evaluate", "generate", "judge", "elo", "compare", "merge",
    "publish", "self_check", "list_runs", "show_run", "diff_runs", "doctor", "__main__",
    "api/events",
    "cli/compose", "cli/overview", "cli/short_help", "cli/flat_command", "cli/help_command",
    "cli/completion", "cli/completion_command", "diagnostics/probe", "diagnostics/report",
    "cli/program", "cli/help", "experiment/process_entry",
    "system/terminal", "system/signals", "system/forked", "display/*", "*/console",
    "sweeping/*", "judging/*",
    "tournament/*", "comparison/*", "publishing/*", "planner/report", "planner/grid",
    "inference/chat", "tiny/pretrain/*", "data/__main__",
)  # fmt: skip
# These change the process and give it back: distributed/process_state.py restores what the last
# two change.
RESTORED = {
    "distributed/process_state": "environment",
    "distributed/process_group": "environment",
    "distributed/environment": "environment",
    "system/hardware": "environment",
    "libraries/quiet": "warnings",
}
PRINTING = {"tell", "tell_lines", "note", "write", "console"}  # of system/terminal.py
FORMATS = {"number", "duration", "file_size"}  # of display/console.py: they print nothing
CHANGES = {"update", "setdefault", "pop", "clear", "popitem"}


def forbidden(source):
    """What the module does that only a command may, in words."""
    tree = ast.parse(source)
    restored = {
        id(inner)
        for one in ast.walk(tree)
        if isinstance(one, ast.With) and any("catch_warnings" in ast.unparse(i) for i in one.items)
        for inner in ast.walk(one)
    }
    for node in ast.walk(tree):
        text = ast.unparse(node) if isinstance(node, ast.Call | ast.Subscript) else ""
        name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if name in ("print", "Console", "sys.stdout.write", "sys.stderr.write") or (
            isinstance(node, ast.ImportFrom) and prints(node)
        ):
            yield "printing"
        if name in ("signal.signal", "signal.set_wakeup_fd", "handle", "stop_on_signals"):
            yield "signals"
        if name.endswith(("filterwarnings", "simplefilter")) and id(node) not in restored:
            yield "warnings"
        if text.startswith("os.environ[") and not isinstance(node.ctx, ast.Load):
            yield "environment"
        if name in {f"os.environ.{one}" for one in CHANGES} | {"os.putenv", "os.unsetenv"}:
            yield "environment"


def prints(node):
    names = {one.name for one in node.names}
    return (
        (node.module == "anima_exp.system.terminal" and names & PRINTING)
        or (node.module == "anima_exp.display.console" and names - FORMATS)
        or (node.module == "anima_exp.display" and "console" in names)
        or (node.module == "rich.console" and "Console" in names)
    )


def test_only_commands_print_and_change_the_process():
    found = []
    for path in PACKAGE.rglob("*.py"):
        module = path.relative_to(PACKAGE).with_suffix("").as_posix()
        if any(fnmatch(module, one) for one in COMMANDS):
            continue
        done = set(forbidden(path.read_text(encoding="utf-8"))) - {RESTORED.get(module)}
        found += [f"{module}: {one}" for one in sorted(done)]
    assert found == []


# These explain or write the other form, or run modules that are no commands.
OTHER_FORM = (
    "__main__", "__init__", "data/__main__", "reference/*", "config/reference", "system/invocation",
    "cli/commands", "cli/overview", "tiny/pretrain/*",
)  # fmt: skip


def test_messages_name_commands_as_a_user_types_them():
    found = [
        module
        for path in PACKAGE.rglob("*.py")
        if "python -m anima_exp" in path.read_text(encoding="utf-8")
        and not any(
            fnmatch(module := path.relative_to(PACKAGE).with_suffix("").as_posix(), one)
            for one in OTHER_FORM
        )
    ]
    assert found == [], "say `anima-exp train`"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("print('x')", "printing"),
        ("from anima_exp.system.terminal import note, printable", "printing"),
        ("from anima_exp.display.console import say", "printing"),
        ("from anima_exp.display import console, units", "printing"),
        ("import signal\nsignal.signal(2, f)", "signals"),
        ("os.environ['A'] = 'b'", "environment"),
        ("os.environ.setdefault('A', 'b')", "environment"),
        ("del os.environ['A']", "environment"),
        ("warnings.filterwarnings('ignore')", "warnings"),
        ("warnings.simplefilter('ignore')", "warnings"),
    ],
)
def test_the_check_would_notice(source, why):
    assert list(forbidden(source)) == [why]


@pytest.mark.parametrize(
    "source",
    [
        "from anima_exp.system.terminal import printable",
        "from anima_exp.display.console import duration, number",
        "os.environ['A']\nos.environ.get('A')",
        "with warnings.catch_warnings():\n    warnings.simplefilter('ignore')",
    ],
)
def test_the_check_lets_pass_what_changes_nothing(source):
    assert list(forbidden(source)) == []


# Library callbacks whose arguments nothing here reads, and values of any type, stay `Any`.
ANY_LIMIT = 0.02


def annotations(tree: ast.AST) -> Iterator[str]:
    """Yield the annotation of each parameter that functions and methods take from their callers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            rest = [one for one in (given.vararg, given.kwarg) if one]
            for one in [*given.posonlyargs, *given.args, *given.kwonlyargs, *rest]:
                if one.arg not in ("self", "cls"):
                    yield ast.unparse(one.annotation) if one.annotation else ""


def test_hardly_any_parameter_is_any():
    known = [
        text
        for path in PACKAGE.rglob("*.py")
        for text in annotations(ast.parse(path.read_text(encoding="utf-8")))
    ]
    bare = [text for text in known if text in ("Any", "Any | None")]
    assert len(bare) / len(known) < ANY_LIMIT, f"{len(bare)} of {len(known)} parameters are Any"


def test_the_count_of_any_sees_every_kind_of_parameter():
    source = "class A:\n    def f(self, a: Any, /, b: int, *c: Any, d: 'Any', **e: Any): ..."
    assert [*annotations(ast.parse(source))].count("Any") == 3
