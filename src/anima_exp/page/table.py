"""Columns and cells -> an HTML table in a box of its own that scrolls."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anima_exp.page.words import escaped


@dataclass(frozen=True)
class Column:
    heading: str
    style: str = ""  # number, value, long, score


@dataclass(frozen=True)
class Value:
    """One table cell: its text, or its `html` where that says more; `key` is what it sorts by."""

    text: Any = ""
    html: str | None = None
    key: Any = None


@dataclass(frozen=True)
class Line:
    values: Sequence[Value]
    style: str = ""
    text: str | None = None  # what a filter looks into


def table(
    caption: str,
    columns: Sequence[Column],
    lines: Sequence[Line],
    *,
    name: str = "",
    sortable: bool = False,
) -> str:
    """The first column names its row."""
    heads = "".join(_head(column, sortable) for column in columns)
    body = "\n".join(_line(line, columns) for line in lines)
    # A box that scrolls must be reachable by keyboard, and then it needs a name.
    return (
        f'<div class="box" tabindex="0" role="region" aria-label="{escaped(caption)}">\n'
        f"<table{_attribute('id', name)}><caption>{escaped(caption)}</caption>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _head(column: Column, sortable: bool) -> str:
    text = escaped(column.heading)
    inner = f'<button type="button">{text}</button>' if sortable and text else text
    return f'<th scope="col"{_attribute("class", column.style)}>{inner}</th>'


def _line(line: Line, columns: Sequence[Column]) -> str:
    cells = []
    for place, (value, column) in enumerate(zip(line.values, columns, strict=True)):
        tag, scope = ("th", ' scope="row"') if place == 0 else ("td", "")
        key = "" if value.key is None else f' data-key="{escaped(value.key)}"'
        inner = escaped(value.text) if value.html is None else value.html
        style = _attribute("class", column.style)
        cells.append(f"<{tag}{scope}{style}{key}>{inner}</{tag}>")
    text = "" if line.text is None else f' data-text="{escaped(line.text)}"'
    return f"<tr{_attribute('class', line.style)}{text}>{''.join(cells)}</tr>"


def _attribute(name: str, value: str) -> str:
    return f' {name}="{escaped(value)}"' if value else ""
