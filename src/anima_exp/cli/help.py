"""Extend Hydra's --help: each setting gets its description next to its value."""

import io
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout

from anima_exp.config.catalogue import Entry, catalogue, kinds
from anima_exp.config.reference import values
from anima_exp.system.terminal import write

_START = "== Settings"
_LINE = re.compile(r"^(?P<indent> *)(?P<name>\w+):(?P<value>.*)$")
_COLUMN = 44  # where the sentences begin
_NARROWEST = 40  # of a sentence; in a terminal of less room the lines wrap


@contextmanager
def with_descriptions(options: Sequence[str], schema: type) -> Iterator[None]:
    """Add the sentences to what Hydra prints meanwhile, if the options ask for help."""
    if not {"--help", "-h"} & {*options}:
        yield
        return
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            yield
    finally:
        write(with_sentences(printed.getvalue(), schema))


def with_sentences(text: str, schema: type) -> str:
    """Return Hydra's help text with a comment behind every line of its YAML.

    The sentences come from the descriptions of the settings (config/setting.py).
    """
    head, start, settings = text.partition(_START)
    if not start:
        return text
    first, newline, rest = settings.partition("\n")
    known = catalogue(schema)
    width = max(shutil.get_terminal_size((120, 24)).columns - _COLUMN - 3, _NARROWEST)
    path: list[str] = []
    lines = []
    for line in rest.split("\n"):
        match = _LINE.match(line)
        if not match:
            lines.append(line)
            continue
        path[len(match["indent"]) // 2 :] = [match["name"]]
        entry = known.get(".".join(path))
        lines.append(_commented(line, entry, width) if entry else line)
    return f"{head}{start}{first}{newline}" + "\n".join(lines)


def _commented(line: str, entry: Entry, width: int) -> str:
    about = entry.setting.about
    if entry.group is None and not {str, bool} & {*kinds(entry.hint)}:
        about += f" ({values(entry)})"
    first, *more = textwrap.wrap(about, width)
    commented = f"{line:<{_COLUMN}} # {first}"
    return "\n".join([commented, *(f"{'':<{_COLUMN}} # {one}" for one in more)])
