"""Write the page of commands: each with its summary, examples, input, output and settings."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path

from anima_exp.config import EvaluateConfig, GenerateConfig, MergeConfig, RunConfig
from anima_exp.config.catalogue import catalogue
from anima_exp.config.commands import JudgeConfig, PublishConfig
from anima_exp.config.reference import setting_row
from anima_exp.reference import markdown


@dataclass(frozen=True)
class Command:
    """What the page says of a command besides its module's docstring."""

    name: str
    module: str  # python -m MODULE does the same
    schema: type | None  # the dataclass of its settings
    takes: str
    leaves: str


COMMANDS = (
    Command(
        "train",
        "anima_exp.train",
        RunConfig,
        "settings of a run; with `-m` a grid or a search",
        "a [run folder](files.md#run-folder) with adapter, scores and record",
    ),
    Command(
        "plan",
        "anima_exp.plan",
        RunConfig,
        "the settings that `train` takes",
        "tables of memory, tokens and hours in the terminal; nothing is loaded",
    ),
    Command(
        "data",
        "anima_exp.inspect_data",
        RunConfig,
        "settings of `data`, `model` and `cache_dir`",
        "lengths, truncation, faults and two rows in the terminal",
    ),
    Command(
        "evaluate",
        "anima_exp.evaluate",
        EvaluateConfig,
        "a run folder, an adapter or a base, and `evals`",
        "scores in the terminal, and in `evaluations/` of the run folder",
    ),
    Command(
        "generate",
        "anima_exp.generate",
        GenerateConfig,
        "a run folder, an adapter or a base; a prompt or a file of questions",
        "an answer, a chat, or a file of answers",
    ),
    Command(
        "judge",
        "anima_exp.judge",
        JudgeConfig,
        "files of answers, and an OpenAI-compatible server",
        "files of verdicts by pair of models",
    ),
    Command(
        "elo",
        "anima_exp.elo",
        None,
        "files of verdicts",
        "ratings and biases in the terminal, as JSON and as an HTML page",
    ),
    Command(
        "compare",
        "anima_exp.compare",
        None,
        "run folders, sweep folders, or folders of runs",
        "a leaderboard in the terminal, as data, as an HTML page or a W&B report",
    ),
    Command(
        "merge",
        "anima_exp.merge",
        MergeConfig,
        "a run folder or an adapter",
        "a folder with one model for plain transformers, and how far it differs",
    ),
    Command(
        "publish",
        "anima_exp.publish",
        PublishConfig,
        "a run folder, or a folder with an adapter or a model",
        "a repository on the Hugging Face hub, with a model card",
    ),
    Command(
        "check",
        "anima_exp.self_check",
        RunConfig,
        "the settings that `train` takes",
        "how far the gradients of the fast path are from the reference, in the terminal",
    ),
)


def commands_page() -> str:
    """Return the page in Markdown."""
    return markdown.page("Commands", _lines())


def _lines() -> Iterator[str]:
    yield (
        "`anima-exp COMMAND ...` is the same as `python -m MODULE ...`. Every command takes "
        "`key=value` settings in any order. A misspelt key, a wrong type or two settings that "
        "contradict each other end the command within a second, with one line that names the way "
        "out. [Errors](errors.md#exit-statuses) lists the exit statuses."
    )
    yield ""
    yield from markdown.table(
        ["command", "what it does", "in", "out"],
        [
            [f"[`{one.name}`](#{one.name})", _summary(one), one.takes, one.leaves]
            for one in COMMANDS
        ],
    )
    for one in COMMANDS:
        yield from _section(one)


def _section(command: Command) -> Iterator[str]:
    yield ""
    yield f"## {command.name}"
    yield ""
    yield _summary(command)
    yield ""
    yield f"- In: {command.takes}."
    yield f"- Out: {command.leaves}."
    yield f"- Module: `python -m {command.module}`."
    yield ""
    yield from markdown.block("\n".join(_examples(command)))
    if command.schema is None:
        return
    own = own_settings(command.schema)
    if issubclass(command.schema, RunConfig):
        more = " besides those below" if own else ""
        yield ""
        yield f"It takes all [settings of a run](settings.md){more}."
    if own:
        yield ""
        yield "| setting | values | default | what it does |"
        yield "| --- | --- | --- | --- |"
        yield from own


def own_settings(schema: type) -> list[str]:
    """Return the rows of the settings that a run does not have."""
    entries = catalogue(schema)
    of_a_run = {one.name for one in fields(RunConfig)}
    return [
        setting_row(entry)
        for key, entry in entries.items()
        if key.partition(".")[0] not in of_a_run and not entry.group
    ]


def _docstring(command: Command) -> str:
    """Return the docstring of a command's module, without importing it."""
    spec = find_spec(command.module)
    assert spec is not None and spec.origin is not None, command.module
    text = Path(spec.origin).read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(text)) or ""


def _summary(command: Command) -> str:
    return " ".join(_docstring(command).partition("\n\n")[0].split())


def _examples(command: Command) -> list[str]:
    """Return the examples of a docstring, each as a command of `anima-exp`."""
    lines = [line.strip() for line in _docstring(command).splitlines()]
    called = re.compile(rf"^(python -m {re.escape(command.module)}|anima-exp {command.name})\b")
    return [called.sub(f"anima-exp {command.name}", line) for line in lines if called.match(line)]
