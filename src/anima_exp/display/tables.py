"""Print tables of text in the terminal, fitted to its width, and export them safely."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from anima_exp.system.terminal import printable


@dataclass(frozen=True)
class Column:
    heading: str
    texts: list[str]
    right: bool = True
    dropped: int = 0  # without enough room, columns with the largest number go first; 0 stays
    whole: bool = False  # never folded into several lines
    styles: Sequence[str] = ()  # a style per text; by default none
    at_most: int | None = None  # without enough room, fold the column to this width


_GAP = 2  # spaces between two columns


def table(columns: Sequence[Column], *, bold: Collection[int] = ()) -> Table:
    """Return a rich table. `bold` are the indices of bold rows."""
    made = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for column in columns:
        justify = "right" if column.right else "left"
        made.add_column(
            safe(column.heading),
            justify=justify,  # type: ignore[arg-type]
            overflow="fold",
            no_wrap=column.whole or bool(column.dropped),
        )
    for place in range(len(columns[0].texts)):
        made.add_row(
            *(_styled(column, place) for column in columns), style="bold" if place in bold else None
        )
    return made


def _styled(column: Column, place: int) -> Text:
    text = safe(column.texts[place])
    if column.styles:
        text.stylize(column.styles[place])
    return text


def fits(columns: Sequence[Column], width: int) -> bool:
    return width_of(columns) - _GAP <= width


def width_of(columns: Sequence[Column]) -> int:
    """Return how many columns of the terminal a table takes, with the gap behind the last one."""
    return sum(map(_width, columns)) + _GAP * len(columns)


def fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """Return the columns that fit, and the headings of those that do not."""
    kept = list(columns)
    while not fits(kept, width):
        least = max(kept, key=lambda column: column.dropped)
        if not least.dropped:
            break
        kept.remove(least)
    return kept, [column.heading for column in columns if column not in kept]


def folded(items: Sequence[str], width: int) -> str:
    """Return the items side by side, with a new line before an item that does not fit."""
    lines = [""]
    for item in items:
        longer = f"{lines[-1]}   {item}" if lines[-1] else item
        if lines[-1] and cell_len(longer) > width:
            lines.append(item)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def say(console: Console, text: str, *, style: str | None = None) -> None:
    # In a file or a pipe a sentence stays on one line.
    console.print(safe(text), style=style, soft_wrap=not console.is_terminal)


def safe(text: str) -> Text:
    """Text in which neither control characters nor rich's markup mean anything."""
    return Text(printable(text))


def _width(column: Column) -> int:
    natural = max(cell_len(text) for text in [column.heading, *column.texts])
    return min(natural, column.at_most or natural)


# CSV cells that a spreadsheet does not interpret as formulas.


_BEGIN_A_FORMULA = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")


def escape_formula(value: object) -> object:
    """Return the value, with an apostrophe before a text that would start a formula.

    Control characters are escaped, because some readers end a row at a bare carriage return.
    """
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_BEGIN_A_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# Markdown tables with escaped texts.


def markdown_table(columns: Sequence[Column]) -> str:
    """Return a Markdown table whose lines all end with a newline."""
    lines = [
        _line([escape_markdown(column.heading) for column in columns]),
        _line(["---:" if column.right else "---" for column in columns]),
        *(
            _line([escape_markdown(text) for text in texts])
            for texts in zip(*(column.texts for column in columns), strict=True)
        ),
    ]
    return "".join(f"{line}\n" for line in lines)


def escape_markdown(text: str) -> str:
    """Return a text on one line, with Markdown's special characters escaped."""
    one_line = " ".join(printable(text).split())
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", one_line)


def _line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"
