"""Texts of whatever letters -> Markdown in which none of them is a mark."""

import re
from collections.abc import Sequence

from anima_exp.tables import markdown
from anima_exp.tables.column import Column
from anima_exp.terminal import visible


def section(title: str, told: Sequence[tuple[str, str]]) -> str:
    names, texts = zip(*told, strict=True)
    pair = [
        Column("", list(names), right=False),
        Column("", [visible(text) for text in texts], right=False),
    ]
    return f"## {title}\n\n{markdown.table(pair)}"


def fenced(text: str, language: str) -> str:
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{visible(text)}\n{fence}\n"


def code(text: str) -> str:
    """On one line, in as many backticks as it takes that none of its own ends it."""
    line = visible(" ".join(text.split()))
    fence = "`" * (_longest_run(line) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def plain(text: str) -> str:
    return markdown.written_plainly(visible(text))


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
