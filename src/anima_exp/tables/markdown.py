"""Columns of text -> a Markdown table, in which nothing is taken for a mark."""

import re
from collections.abc import Sequence

from anima_exp.tables.column import Column
from anima_exp.terminal import visible


def table(found: Sequence[Column]) -> str:
    """Lines that each end in a newline."""
    lines = [
        _line([written_plainly(column.heading) for column in found]),
        _line(["---:" if column.right else "---" for column in found]),
        *(
            _line([written_plainly(text) for text in texts])
            for texts in zip(*(column.texts for column in found), strict=True)
        ),
    ]
    return "".join(f"{line}\n" for line in lines)


def written_plainly(text: str) -> str:
    """On one line, with every letter that Markdown would read as a mark escaped."""
    one_line = " ".join(visible(text).split())
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", one_line)


def _line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"
