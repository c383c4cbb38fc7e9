"""Print --help of a command on one screen: what it does, examples, and its main settings."""

import shutil
import textwrap
from collections.abc import Sequence

from anima_exp.cli import conf_files
from anima_exp.cli.command import Command, schema_of
from anima_exp.cli.commands import find
from anima_exp.cli.program import status
from anima_exp.config.catalogue import catalogue
from anima_exp.system.terminal import write

_WIDEST = 120
_USAGE = {"help": "[NAME]", "completion": "bash|zsh|fish"}  # these take no settings
_HELP, _ALL = {"--help", "-h", "--help-all"}, {"--all", "--help-all"}


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for help of any length."""
    return bool(_HELP & {*arguments})


def asks_for_all(arguments: Sequence[str]) -> bool:
    """Return whether a command line asks for the help that lists every setting."""
    return asks_for_help(arguments) and bool(_ALL & {*arguments})


def without_help(arguments: Sequence[str]) -> list[str]:
    """Return a command line without the options that ask for help."""
    return [one for one in arguments if one not in _HELP | _ALL]


def print_short_help(name: str) -> None:
    """Print the help of a command, given by its name or by the name of its file in conf/."""
    command = find(name)
    assert command is not None, name
    width = shutil.get_terminal_size((80, 24)).columns
    status(lambda: write(f"{short_help(command, width)}\n"))


def short_help(command: Command, width: int) -> str:
    """Return the help of a command for a terminal of `width` columns."""
    width = min(width, _WIDEST)
    words = f"[{command.words.upper()}...] " if command.words else ""
    usage = f"anima-exp {command.name} {_USAGE.get(command.name, f'{words}[key=value ...]')}"
    lines = [command.what, "", f"  {usage}", ""]
    lines += _examples(command, width)
    if command.details:
        lines += ["", *_wrap(command.details, width)]
    if command.groups:
        lines += ["", "Groups, chosen with group=NAME:"]
        lines += [_group_line(group, width) for group in command.groups]
    if command.schema:
        known = catalogue(schema_of(command))
        lines += ["", "Settings:" if not command.groups else "Main settings:"]
        rows = [(key, known[key].setting.about) for key in command.settings if key in known]
        lines += _table(rows, width, shorten=bool(command.groups))
        lines += ["", *_more(command, width)]
    return "\n".join(lines)


def long_help(command: Command, width: int) -> str:
    """Return the help of a command without Hydra, with every setting, its values and default."""
    from anima_exp.config.reference import values

    lines = [short_help(command, width), "", "All settings:"]
    for key, entry in catalogue(schema_of(command)).items():
        lines.append(f"  {key}: {values(entry)}")
        lines += [f"      {line}" for line in _wrap(entry.setting.about, width - 6)]
    return "\n".join(lines)


def _more(command: Command, width: int) -> list[str]:
    key = command.settings[0] if command.settings else "KEY"
    text = f"anima-exp help {key} explains one setting"
    if command.groups:
        text += f", anima-exp help {command.groups[0]} one group"
    text += f". anima-exp {command.name} --help --all lists everything."
    return _wrap(text, width)


def _wrap(text: str, width: int) -> list[str]:
    """Wrap a text, but break neither `anima-exp` nor a long key."""
    return textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)


def _group_line(group: str, width: int) -> str:
    names = conf_files.choices(group)
    line = f"  {group:<11} "
    shown: list[str] = []
    for name in names:
        left = len(names) - len(shown) - 1
        more = f", ... ({len(names)})" if left else ""
        if len(line + ", ".join([*shown, name]) + more) > width:
            return f"{line}{', '.join(shown)}, ... ({len(names)})"
        shown.append(name)
    return line + ", ".join(shown)


def _examples(command: Command, width: int) -> list[str]:
    """Return the examples, each with what it does behind it, or below it if one has no room."""
    rows = [
        (f"anima-exp {command.name} {words}".rstrip(), what) for words, what in command.examples
    ]
    left = max(len(line) for line, _ in rows)
    if left + 4 + max(len(what) for _, what in rows) <= width:
        return [f"  {line:<{left}}  {what}" for line, what in rows]
    return [text for line, what in rows for text in (f"  {line}", f"      {what}")]


def _table(rows: Sequence[tuple[str, str]], width: int, *, shorten: bool) -> list[str]:
    """Return two columns, the second one wrapped. If `shorten`, it ends with a sentence."""
    left = max((len(one) for one, _ in rows), default=0)
    room = max(width - left - 4, 30)
    lines = []
    for name, text in rows:
        if shorten:
            text = conf_files.whole_sentences(text, room)
        wrapped = _wrap(text, room) or [""]
        lines.append(f"  {name:<{left}}  {wrapped[0]}")
        lines += [f"  {'':<{left}}  {line}" for line in wrapped[1:]]
    return lines
