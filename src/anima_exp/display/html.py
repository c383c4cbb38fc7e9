"""Columns of text -> an HTML table for a notebook."""

from collections.abc import Collection, Sequence
from html import escape

from anima_exp.display.tables import Column
from anima_exp.system.terminal import printable


def html_table(
    columns: Sequence[Column],
    *,
    caption: str = "",
    below: Sequence[str] = (),
    bold: Collection[int] = (),
) -> str:
    """Return a table that needs no style sheet and no script.

    Args:
        caption: stands above it.
        below: sentences that stand below it.
        bold: places of rows.
    """
    head = "".join(f"<th{_side(one)}>{_safe(one.heading)}</th>" for one in columns)
    body = []
    for place in range(len(columns[0].texts)):
        tag = "th" if place in bold else "td"
        cells = (f"<{tag}{_side(one)}>{_safe(one.texts[place])}</{tag}>" for one in columns)
        body.append(f"<tr>{''.join(cells)}</tr>")
    above = f"<caption>{_safe(caption)}</caption>" if caption else ""
    table = f"<table>{above}<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return "\n".join([table, *(f"<p>{_safe(sentence)}</p>" for sentence in below)])


def _side(column: Column) -> str:
    return f' style="text-align:{"right" if column.right else "left"}"'


def _safe(text: str) -> str:
    return escape(printable(text))
