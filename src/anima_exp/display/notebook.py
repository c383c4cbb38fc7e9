"""Write columns as a table for `print` and an interactive Python, or as HTML for a notebook."""

from collections.abc import Collection, Sequence

from anima_exp.display.html_page import environment
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
    """Return a table that needs no style sheet and no script; without columns only the sentences.

    Args:
        caption: stands above it.
        below: sentences that stand below it.
        bold: places of rows.
    """
    template = environment().get_template("notebook_table.html.jinja")
    rows = list(zip(*(column.texts for column in columns), strict=True))
    made = template.render(columns=columns, rows=rows, caption=caption, below=below, bold=bold)
    return made.strip()
