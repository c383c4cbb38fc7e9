"""Write columns as a table for `print` and an interactive Python, or as HTML for a notebook."""

from collections.abc import Collection, Sequence
from html import escape

from anima_exp.display.tables import Column
from anima_exp.system.terminal import printable


def text_table(columns: Sequence[Column]) -> str:
    """Return the table, a line for each row below the headings."""
    from rich.cells import cell_len  # Chinese letters are two columns wide

    padded = []
    for column in columns:
        texts = [printable(text) for text in (column.heading, *column.texts)]
        width = max(map(cell_len, texts))
        space = [" " * (width - cell_len(text)) for text in texts]
        pairs = zip(space, texts, strict=True) if column.right else zip(texts, space, strict=True)
        padded.append([left + right for left, right in pairs])
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*padded, strict=True))


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
