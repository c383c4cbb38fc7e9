"""Columns of text -> a plain table, for `print` and for an interactive Python."""

from collections.abc import Sequence

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
