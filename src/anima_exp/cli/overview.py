"""Print the list of commands: what a user sees who types `anima-exp`."""

import shutil
import sys
from difflib import get_close_matches

from anima_exp.cli.commands import COMMANDS, FORMER, GROUPS

_ONE_LINE = 116  # columns from which a command and its example share a line


def show(*, version: bool = False) -> None:
    """Print all commands with one example each, or the version."""
    if version:
        from importlib.metadata import version as version_of

        print(f"anima-exp {version_of('anima-exp')}")
        return
    width = shutil.get_terminal_size((80, 24)).columns
    print(text(width, bold=sys.stdout.isatty()))


def text(width: int, *, bold: bool = False) -> str:
    """Return the list of commands for a terminal of `width` columns."""
    lines = [
        "Train language models with QLoRA, sweep over settings, and compare the runs.",
        "",
    ]
    longest = max(map(len, COMMANDS))
    widest = max(len(command.what) for command in COMMANDS.values())
    for heading, commands in GROUPS:
        lines.append(_bold(heading, bold))
        for command in commands:
            start = f"  {_bold(f'{command.name:<{longest}}', bold)}  "
            example = f"anima-exp {command.name} {command.example}".rstrip()
            if width >= _ONE_LINE + 15:
                lines.append(f"{start}{command.what:<{widest}}  {_dim(example, bold)}")
            else:
                lines.append(f"{start}{command.what}")
                lines.append(f"  {'':<{longest}}  {_dim(example, bold)}")
        lines.append("")
    lines += [
        "anima-exp COMMAND --help shows a command's settings, anima-exp help KEY one.",
        "`python -m anima_exp.train ...` is the same as `anima-exp train ...`.",
    ]
    return "\n".join(lines)


def unknown_command(name: str) -> str:
    """Return the message for a command that does not exist."""
    if name.startswith("-"):
        return f"There is no option {name} before a command. `anima-exp` lists the commands."
    close = get_close_matches(name, [*COMMANDS, *FORMER], n=1, cutoff=0.6)
    hint = f"Did you mean '{FORMER.get(close[0], close[0])}'?" if close else ""
    if "=" in name:
        hint = f"A setting comes after a command: anima-exp train {name}"
    lists = "" if hint else "`anima-exp` lists the commands."
    return f"There is no command '{name}'. {hint}{lists}"


def _bold(text: str, on: bool) -> str:
    return f"\x1b[1m{text}\x1b[0m" if on else text


def _dim(text: str, on: bool) -> str:
    return f"\x1b[2m{text}\x1b[0m" if on else text
