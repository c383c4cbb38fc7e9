"""Columns of text -> a table for the terminal that fits its width; text that cannot steer it."""

from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from anima_exp.tables.column import Column
from anima_exp.terminal import visible

_GAP = 2  # spaces between two columns


def table(found: Sequence[Column], *, bold: Collection[int] = ()) -> Table:
    """`bold` are places of rows."""
    made = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for column in found:
        justify = "right" if column.right else "left"
        made.add_column(
            safe(column.heading),
            justify=justify,  # type: ignore[arg-type]
            overflow="fold",
            no_wrap=column.whole or bool(column.dropped),
        )
    for place in range(len(found[0].texts)):
        texts = (safe(column.texts[place]) for column in found)
        made.add_row(*texts, style="bold" if place in bold else None)
    return made


def fits(found: Sequence[Column], width: int) -> bool:
    return width_of(found) - _GAP <= width


def width_of(found: Sequence[Column]) -> int:
    """Return how many columns of the terminal a table takes, with the gap behind the last one."""
    return sum(map(_width, found)) + _GAP * len(found)


def fitting(found: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit, and the headings of those that were left out for it."""
    kept = list(found)
    while not fits(kept, width):
        least = max(kept, key=lambda column: column.dropped)
        if not least.dropped:
            break
        kept.remove(least)
    return kept, [column.heading for column in found if column not in kept]


def folded(items: Sequence[str], width: int) -> str:
    """Items side by side, and a new line where the next would not fit."""
    lines = [""]
    for item in items:
        longer = f"{lines[-1]}   {item}" if lines[-1] else item
        if lines[-1] and cell_len(longer) > width:
            lines.append(item)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def say(console: Console, text: str, *, style: str | None = None) -> None:
    # In a file or a pipe, a sentence stays one line.
    console.print(safe(text), style=style, soft_wrap=not console.is_terminal)


def safe(text: str) -> Text:
    """Text in which neither control characters nor rich's markup mean anything."""
    return Text(visible(text))


def _width(column: Column) -> int:
    natural = max(cell_len(text) for text in [column.heading, *column.texts])
    return min(natural, column.at_most or natural)
