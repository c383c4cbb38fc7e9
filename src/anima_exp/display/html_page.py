"""Build self-contained HTML pages from sections, data and scripts."""

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from anima_exp.system.atomic import atomic_write_text, user_output
from anima_exp.system.terminal import printable

# What users and models wrote -> text that is safe to put into the page.


def sanitize_text(text: object) -> str:
    """Control characters, and halves of characters that no file can hold, spelled out."""
    return printable(str(text).encode("utf-8", "backslashreplace").decode("utf-8"))


def escaped(text: object) -> str:
    """For the inside of an element or of a quoted attribute."""
    return html.escape(sanitize_text(text))


def embedded(value: object) -> str:
    """JSON for the inside of a <script>, which nothing in it can close."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def count(number: int, noun: str) -> str:
    """`1 run`, `90 runs`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}… ({len(text):,} characters)"


# A section has a heading, a lead that explains how to read it, and a body.


@dataclass(frozen=True)
class Section:
    name: str  # in the address
    short: str  # in the contents
    heading: str
    lead: str  # HTML, as the body
    body: str

    def html(self) -> str:
        lead = f'<p class="lead">{self.lead}</p>\n' if self.lead else ""
        return (
            f'<section id="{self.name}" aria-labelledby="{self.name}-heading">\n'
            f'<h2 id="{self.name}-heading">{escaped(self.heading)}</h2>\n{lead}{self.body}\n'
            "</section>"
        )


_ASSETS = Path(__file__).parent / "assets"


def write(path: Path, text: str) -> None:
    """Write a page to `path` atomically.

    Raises:
        RunError: if `path` cannot be written.
    """
    with user_output(path, way_out="Give another --html FILE."):
        atomic_write_text(path, text)


def page(
    *,
    title: str,
    header: str,
    sections: Sequence[Section],
    data: dict[str, Any],
    scripts: Sequence[Path],
    program: str,
) -> str:
    """Return the HTML of a page.

    Args:
        title: plain text.
        header: HTML.
        data: the variable `found` of the scripts.
        scripts: JavaScript files, run in this order between page.js and field.js, which draw, and
            start.js, which calls the functions that they list in `parts`.
        program: the module that made the page.
    """
    plotly = files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")
    first, field, last = (_ASSETS / f"{name}.js" for name in ("page", "field", "start"))
    own = "\n".join(path.read_text("utf-8") for path in [first, field, *scripts, last])
    script = f'(() => {{\n"use strict";\n{own}}})();\n'
    return Template((_ASSETS / "page.html").read_text("utf-8")).substitute(
        policy=_policy(plotly, script),
        title=escaped(title),
        style=(_ASSETS / "page.css").read_text("utf-8"),
        header=header,
        contents="".join(f'<li><a href="#{one.name}">{one.short}</a></li>' for one in sections),
        sections="\n".join(one.html() for one in sections),
        footer=f"Made by <code>python -m {program}</code>. The page needs no other file.",
        data=embedded(data),
        plotly=plotly,
        script=script,
    )


def _policy(*scripts: str) -> str:
    """Return a content security policy that loads nothing and runs only these scripts, by hash."""
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'"
        for one in scripts
    )
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


# HTML tables, each in a box that scrolls.


@dataclass(frozen=True)
class Column:
    heading: str
    style: str = ""  # number, value, long, score


@dataclass(frozen=True)
class Value:
    """A table cell: its text, or `html` in its place. `key` is the value to sort by."""

    text: Any = ""
    html: str | None = None
    key: Any = None


@dataclass(frozen=True)
class Line:
    values: Sequence[Value]
    style: str = ""
    text: str | None = None  # the text that a filter searches


def table(
    caption: str,
    columns: Sequence[Column],
    lines: Sequence[Line],
    *,
    name: str = "",
    sortable: bool = False,
) -> str:
    """Return an HTML table whose first column is the heading of each row."""
    heads = "".join(_head(column, sortable) for column in columns)
    body = "\n".join(_line(line, columns) for line in lines)
    # A box that scrolls must take keyboard focus, and therefore needs a name.
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
