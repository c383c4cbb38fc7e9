"""Sections, their data and scripts -> one HTML file that needs nothing but itself."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from anima_exp.page.section import Section
from anima_exp.page.words import embedded, escaped
from anima_exp.results.files import asked_for, write_text

_HERE = Path(__file__).parent


def write(path: Path, text: str) -> None:
    """Write the page to `path`, whole or not at all.

    Raises:
        RunError: `path` cannot be written.
    """
    with asked_for(path, way_out="Give another --html FILE."):
        write_text(path, text)


def page(
    *,
    title: str,
    header: str,
    sections: Sequence[Section],
    data: dict[str, Any],
    scripts: Sequence[Path],
    program: str,
) -> str:
    """The whole page.

    Args:
        title: plain text.
        header: HTML.
        data: what the scripts find as `found`.
        scripts: JavaScript files, run in this order between page.js and field.js, which draw, and
            start.js, which calls the functions that they list in `parts`.
        program: the module that made the page.
    """
    plotly = files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")
    first, field, last = (_HERE / "scripts" / f"{name}.js" for name in ("page", "field", "start"))
    own = "\n".join(path.read_text("utf-8") for path in [first, field, *scripts, last])
    script = f'(() => {{\n"use strict";\n{own}}})();\n'
    return Template((_HERE / "page.html").read_text("utf-8")).substitute(
        policy=_policy(plotly, script),
        title=escaped(title),
        style=(_HERE / "page.css").read_text("utf-8"),
        header=header,
        contents="".join(f'<li><a href="#{one.name}">{one.short}</a></li>' for one in sections),
        sections="\n".join(one.html() for one in sections),
        footer=f"Made by <code>python -m {program}</code>. This file is all there is.",
        data=embedded(data),
        plotly=plotly,
        script=script,
    )


def _policy(*scripts: str) -> str:
    """Nothing is loaded, and no script runs but these two, named by their hashes."""
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'"
        for one in scripts
    )
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
