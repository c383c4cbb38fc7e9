"""Build self-contained HTML pages from plain data: jinja2 templates hold all markup.

Everything that a template prints is escaped, except `Markup`: style sheets and scripts of this
package, and what a macro made.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anima_exp.system.atomic import atomic_write_text, user_output
from anima_exp.system.terminal import printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

# Texts.


def sanitize_text(text: object) -> str:
    """Control characters, and halves of characters that no file can hold, spelled out."""
    return printable(str(text).encode("utf-8", "backslashreplace").decode("utf-8"))


def count(number: int, noun: str) -> str:
    """`1 run`, `90 runs`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}… ({len(text):,} characters)"


# What a template gets: sections, tables and plots. All texts are plain.


@dataclass(frozen=True)
class Section:
    """A heading, a lead that explains how to read it, and a body."""

    name: str  # in the address
    short: str  # in the contents
    heading: str
    template: str  # of the body; it reads `section.content`
    content: Mapping[str, object]
    lead: str = ""
    warning: str = ""  # a tag before the lead


@dataclass(frozen=True)
class Column:
    heading: str
    style: str = ""  # number, value, long, score


@dataclass(frozen=True)
class Whisker:
    """A score as a dot on a line, with its interval."""

    label: str  # for screen readers
    width: int
    height: int
    edge: int  # free space at both ends of the line
    at: float
    reach: tuple[float, float] | None = None  # the ends of the interval
    beyond: int = 0  # -1 or 1: the score is beyond the left or the right end


@dataclass(frozen=True)
class Value:
    """A table cell. `key` is the value to sort by."""

    text: Any = ""
    key: Any = None
    unseen: str = ""  # text for screen readers only, after `text`
    warning: bool = False  # `text` is a tag
    whisker: Whisker | None = None  # in place of `text`


@dataclass(frozen=True)
class Line:
    values: Sequence[Value]
    style: str = ""
    text: str | None = None  # the text that a filter searches


@dataclass(frozen=True)
class Table:
    """A table in a box that scrolls. The first column is the heading of each row."""

    caption: str
    columns: Sequence[Column]
    lines: Sequence[Line]
    name: str = ""
    sortable: bool = False

    def __post_init__(self) -> None:
        if any(len(line.values) != len(self.columns) for line in self.lines):
            raise ValueError(f"{self.caption}: a line needs {len(self.columns)} values.")


@dataclass(frozen=True)
class Count:
    """One of the large numbers at the head of a page."""

    label: str
    number: int
    bad: bool = False


@dataclass(frozen=True)
class Plot:
    """An empty element that a script fills. A plot with a width scrolls if the page is narrower."""

    name: str
    label: str  # for screen readers
    width_rem: int | None = None


# Render.


_DISPLAY = Path(__file__).parent
_ASSETS = _DISPLAY / "assets"
TEMPLATES = _DISPLAY / "templates"  # page.html.jinja and macros for all pages


@cache
def environment(folder: Path = TEMPLATES) -> "Environment":
    """Return the jinja2 environment of the templates in `folder` and in TEMPLATES."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader([folder, TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printed,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.policies["json.dumps_function"] = _json
    made.policies["json.dumps_kwargs"] = {}
    return made


def _printed(value: object) -> object:
    """Return what a template prints in place of `value`, before it is escaped."""
    return value if hasattr(value, "__html__") else sanitize_text(value)


def _json(value: object) -> str:
    # `tojson` escapes what could close a <script>. JavaScript once ended lines at these two.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")


def page(
    template: Path,
    *,
    title: str,
    header: Mapping[str, object],
    sections: Sequence[Section],
    data: dict[str, Any],
    scripts: Sequence[Path],
    program: str,
) -> str:
    """Return the HTML of a page.

    Args:
        template: extends page.html.jinja.
        header: what the template's block `header` reads.
        data: the variable `found` of the scripts.
        scripts: JavaScript files, run in this order between page.js and field.js, which draw, and
            start.js, which calls the functions that they list in `parts`.
        program: the module that made the page.
    """
    plotly = files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")
    first, field, last = (_ASSETS / f"{name}.js" for name in ("page", "field", "start"))
    own = "\n".join(path.read_text("utf-8") for path in [first, field, *scripts, last])
    script = f'(() => {{\n"use strict";\n{own}}})();\n'
    text = environment(template.parent).get_template(template.name).render(
        policy=_policy(plotly, script),
        title=title,
        style=_trusted((_ASSETS / "page.css").read_text("utf-8")),
        header=header,
        sections=sections,
        data=data,
        plotly=_trusted(plotly),
        script=_trusted(script),
        program=program,
    )  # fmt: skip
    return text + "\n"


def _trusted(text: str) -> "Markup":
    from markupsafe import Markup

    return Markup(text)


def _policy(*scripts: str) -> "Markup":
    """Return a content security policy that loads nothing and runs only these scripts, by hash."""
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'"
        for one in scripts
    )
    return _trusted(
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def write(path: Path, text: str) -> None:
    """Write a page to `path` atomically.

    Raises:
        RunError: if `path` cannot be written.
    """
    with user_output(path, way_out="Give another html=FILE."):
        atomic_write_text(path, text)
