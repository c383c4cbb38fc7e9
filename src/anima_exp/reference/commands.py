"""Write the page of commands: each with its summary, examples, input, output and settings."""

from collections.abc import Iterator
from dataclasses import fields

from anima_exp.cli.command import Command, schema_of
from anima_exp.cli.commands import COMMANDS, GROUPS
from anima_exp.config import RunConfig
from anima_exp.config.catalogue import catalogue
from anima_exp.config.reference import setting_row
from anima_exp.reference import markdown

# The input and the output of each command.
TAKES = {
    "train": "settings of a run; with `-m` a grid or a search",
    "plan": "the settings that `train` takes",
    "data": "settings of `data`, `model` and `cache_dir`; which rows to show",
    "check": "the settings that `train` takes",
    "evaluate": "a run folder, an adapter or a base, and `evals`",
    "generate": "a run folder, an adapter or a base; a prompt or a file of questions",
    "merge": "a run folder or an adapter",
    "publish": "a run folder, or a folder with an adapter or a model",
    "runs": "folders of runs",
    "show": "a run folder, or the beginning of a run's name",
    "diff": "two run folders",
    "compare": "run folders, sweep folders, or folders of runs",
    "judge": "files of answers, and an OpenAI-compatible server",
    "elo": "files of verdicts",
    "doctor": "nothing",
    "help": "a name",
    "completion": "`bash`, `zsh` or `fish`",
}
LEAVES = {
    "train": "a [run folder](files.md#run-folder) with adapter, scores and record",
    "plan": "tables of memory, tokens and hours; nothing is loaded",
    "data": "lengths, truncation, faults and what is trained on in rows, in the terminal and as an "
    "HTML page",
    "check": "how far the fast gradients are from the reference, in the terminal",
    "evaluate": "scores in the terminal, and in `evaluations/` of the run folder",
    "generate": "an answer, a chat, or a file of answers",
    "merge": "a folder with one model for plain transformers, and how far it differs",
    "publish": "a repository on the Hugging Face hub, with a model card",
    "runs": "a list in the terminal, as CSV or as JSON",
    "show": "settings, what was trained, scores and files of the run in the terminal, or as JSON",
    "diff": "settings, scores and costs that differ, in the terminal or as data",
    "compare": "a leaderboard in the terminal, as data, as an HTML page or a W&B report",
    "judge": "files of verdicts by pair of models",
    "elo": "ratings and biases in the terminal, as JSON and as an HTML page",
    "doctor": "findings in the terminal or as JSON; exit status 1 if a default run cannot work",
    "help": "an explanation in the terminal",
    "completion": "a script for the shell",
}


def commands_page() -> str:
    """Return the page in Markdown."""
    return markdown.page("Commands", _lines())


def _lines() -> Iterator[str]:
    yield (
        "Every command takes `key=value` settings in any order. A misspelt key, a wrong type or "
        "two settings that contradict each other end the command within a second. One line then "
        "names the way out. `anima-exp COMMAND --help` shows the main settings of a command, and "
        "`--help --all` shows all. [Errors](errors.md#exit-statuses) lists the exit statuses."
    )
    for group, commands in GROUPS:
        yield ""
        yield f"**{group}**"
        yield ""
        yield from markdown.table(
            ["command", "what it does", "in", "out"],
            [
                [f"[`{one.name}`](#{one.name})", one.what, TAKES[one.name], LEAVES[one.name]]
                for one in commands
            ],
        )
    for command in COMMANDS.values():
        yield from _section(command)


def _section(command: Command) -> Iterator[str]:
    yield ""
    yield f"## {command.name}"
    yield ""
    yield f"{command.what} {command.details}".strip()
    yield ""
    yield f"- In: {TAKES[command.name]}."
    yield f"- Out: {LEAVES[command.name]}."
    yield f"- Module: `python -m anima_exp.{command.module}`."
    yield ""
    yield from markdown.block("\n".join(_examples(command)))
    if not command.schema:
        return
    schema = schema_of(command)
    own = own_settings(schema)
    if issubclass(schema, RunConfig):
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
    shared = {one.name for one in fields(RunConfig)} if issubclass(schema, RunConfig) else set()
    return [
        setting_row(entry)
        for key, entry in catalogue(schema).items()
        if key.partition(".")[0] not in shared and not entry.group
    ]


def _examples(command: Command) -> list[str]:
    calls = [f"anima-exp {command.name} {words}".strip() for words, _ in command.examples]
    width = max(map(len, calls))
    comments = [comment for _, comment in command.examples]
    return [f"{call:<{width}}  # {what}" for call, what in zip(calls, comments, strict=True)]
