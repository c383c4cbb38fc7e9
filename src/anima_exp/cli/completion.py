"""Complete a command line: commands, groups, choices, settings, values, files and runs.

A shell asks `anima-exp complete SHELL WORDS...`, where the last word is the one at the cursor,
empty if a new one begins. Each line of the answer is a candidate, for zsh and fish followed by a
tab and a description. Hydra is not imported, so an answer takes about a tenth of a second.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from anima_exp.cli import conf_files
from anima_exp.cli.command import Command
from anima_exp.cli.commands import COMMANDS, find
from anima_exp.config.catalogue import Entry, catalogue, kinds

SHELLS = ("bash", "zsh", "fish")
_FLAGS = {
    "-m": "run a sweep",
    "--help": "show the main settings",
    "--cfg": "print the composed settings: --cfg job",
    "--resolve": "with --cfg: print references resolved",
    "--config-dir": "a folder of your own groups and sweeps",
}
_FILE_KEYS = ("path", "source", "tokenizer", "adapter", "questions", "answers", "out", "html",
              "ratings", "reviewers", "verdicts", "prompts", "export_prompts", "reference_results",
              "runs_dir", "run_dir", "cache_dir", "folder", "run")  # fmt: skip
_LONGEST_ABOUT = 70


@dataclass(frozen=True)
class Candidate:
    """One possible word."""

    word: str
    about: str = ""
    whole: bool = True  # False: more letters follow, as behind `trainer.` or `model=`


def answer(arguments: Sequence[str]) -> None:
    """Print the candidates for a shell; nothing if there are none."""
    shell, *words = arguments or ["bash"]
    for one in complete(words):
        # A blank at the end tells the script that the word is whole.
        end = " " if one.whole and shell == "bash" else ""
        about = f"\t{one.about}" if one.about and shell != "bash" else ""
        print(f"{one.word}{end}{about}")


def complete(words: Sequence[str]) -> list[Candidate]:
    """Return what the last of `words` may become; the first one is the command."""
    if not words:
        words = [""]
    current = words[-1]
    if len(words) == 1:
        result: Iterator[Candidate] = (
            Candidate(name, command.what) for name, command in COMMANDS.items()
        )
    else:
        command = find(words[0])
        result = iter(()) if command is None else _of_command(command, words[1:-1], current)
    return [one for one in result if one.word.startswith(current)]


def _of_command(command: Command, before: Sequence[str], current: str) -> Iterator[Candidate]:
    if command.name == "completion":
        yield from map(Candidate, SHELLS)
    elif command.name == "help":
        yield from _of_help(current)
    elif before and before[-1] in ("--cfg", "-c"):
        yield from map(Candidate, ("job", "hydra", "all"))
    elif before and before[-1] in ("--config-dir", "-cd"):
        yield from _paths("", current)
    elif current.startswith("-"):
        flags = _FLAGS if command.config else {"--help": _FLAGS["--help"]}
        yield from (Candidate(flag, about) for flag, about in flags.items())
    elif "=" in current:
        yield from _values(command, *current.split("=", 1))
    else:
        yield from _keys(command, current)
        if command.words:
            yield from _words(command, current)


def _of_help(current: str) -> Iterator[Candidate]:
    from anima_exp.metrics.catalogue import known

    if "=" in current:
        group, _, choice = current.partition("=")
        yield from _choices(group, f"{group}=", choice)
        return
    yield from (Candidate(name, command.what) for name, command in COMMANDS.items())
    yield from (Candidate(name, _short(one.what)) for name, one in known().items())
    for command in (COMMANDS["train"], COMMANDS["judge"], COMMANDS["compare"], COMMANDS["elo"]):
        yield from _keys(command, current, bare=True)


def _keys(command: Command, current: str, *, bare: bool = False) -> Iterator[Candidate]:
    """Yield the next part of a key: `tr` -> `trainer.`, `trainer.b` -> `trainer.batch_size=`.

    Args:
        bare: without `=`, as for help.
    """
    equals = "" if bare else "="
    known = catalogue(_schema(command))
    groups = conf_files.groups() if command.config and "model" in known else []
    start = current.rpartition(".")[0]
    if not start:
        for group in groups:
            if len(conf_files.choices(group)) < 2:
                continue
            entry = known.get(group)
            about = _short(entry.setting.about) if entry else ""
            yield Candidate(f"{group}{equals}", about, whole=bare)
    for key, entry in known.items():
        if key.rpartition(".")[0] != start:
            continue
        if entry.group is not None:
            yield Candidate(f"{key}.", _short(entry.setting.about), whole=False)
        else:
            yield Candidate(f"{key}{equals}", _short(entry.setting.about), whole=bare)


def _values(command: Command, key: str, value: str) -> Iterator[Candidate]:
    """Yield words `key=VALUE`; of a list or of several values the last one is completed."""
    key, sign = key.lstrip("+~"), key[: len(key) - len(key.lstrip("+~"))]
    before = value[: max(value.rfind(","), value.rfind("[")) + 1]
    last = value[len(before) :]
    start = f"{sign}{key}={before}"
    whole = partial(Candidate, whole=not before.startswith("["))
    entry = catalogue(_schema(command)).get(key)
    if command.config and key in conf_files.groups():
        yield from _choices(key, start, last)
    elif entry is not None:
        for text in _values_of(entry):
            yield whole(f"{start}{text}")
        if entry.key.rpartition(".")[2] in _FILE_KEYS:
            yield from _paths(start, last)


def _values_of(entry: Entry) -> list[str]:
    if entry.choices:
        result = [*entry.choices]
    elif bool in kinds(entry.hint):
        result = ["true", "false"]
    else:
        return []
    return [*result, "null"] if entry.optional else result


def _choices(group: str, start: str, current: str) -> Iterator[Candidate]:
    for name in conf_files.choices(group):
        about = ""
        if name.startswith(current) and name != conf_files.BY_HAND:
            file = conf_files.file_of(group, name)
            about = conf_files.one_line(conf_files.about(file), _LONGEST_ABOUT)
        yield Candidate(f"{start}{name}", about, whole="[" not in start)


def _words(command: Command, current: str) -> Iterator[Candidate]:
    """Yield files and folders for the words of a command, and names of runs."""
    yield from _paths("", current)
    if command.name in ("show", "diff") and "/" not in current and Path("runs").is_dir():
        with os.scandir("runs") as entries:
            names = sorted(one.name for one in entries if one.name.startswith(current))
        yield from (Candidate(name) for name in names if (Path("runs") / name).is_dir())


def _paths(start: str, current: str) -> Iterator[Candidate]:
    """Yield `start` with the files and folders that begin with `current`."""
    folder, _, name = current.rpartition("/")
    place = Path(os.path.expanduser(f"{folder}/" if "/" in current else "."))
    above = f"{folder}/" if "/" in current else ""
    try:
        with os.scandir(place) as entries:
            result = sorted((one.name, one.is_dir()) for one in entries)
    except OSError:
        return
    for one, is_folder in result:
        if one.startswith(name) and (name.startswith(".") or not one.startswith(".")):
            yield Candidate(f"{start}{above}{one}{'/' * is_folder}", whole=not is_folder)


def _schema(command: Command) -> type:
    from anima_exp.cli.command import schema_of

    return schema_of(command)


def _short(text: str) -> str:
    return conf_files.one_line(text, _LONGEST_ABOUT)
