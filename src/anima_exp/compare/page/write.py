"""A comparison -> one HTML file that needs nothing but itself."""

import base64
import errno
import hashlib
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from string import Template

from anima_exp.compare.comparison import Comparison
from anima_exp.compare.page.data import plotted
from anima_exp.compare.page.header import header, title
from anima_exp.compare.page.sections import sections
from anima_exp.compare.page.words import embedded, escaped
from anima_exp.errors import RunError
from anima_exp.results.files import write_text

_HERE = Path(__file__).parent
_SCRIPTS = ("page", "levels", "table", "curves", "highlight", "effects", "heatmap", "parallel",
            "generations", "start")  # fmt: skip


def write_page(path: Path, comparison: Comparison) -> None:
    """Write the page to `path`, whole or not at all.

    Raises:
        RunError: `path` cannot be written.
    """
    text = page(comparison, now=datetime.now(UTC))
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"Cannot write {path}: {reason}. Give another --html FILE.") from error


def page(comparison: Comparison, *, now: datetime) -> str:
    data = plotted(comparison)
    found = list(sections(comparison, data))
    plotly = files("plotly").joinpath("package_data/plotly.min.js").read_text("utf-8")
    own = "\n".join((_HERE / "scripts" / f"{name}.js").read_text("utf-8") for name in _SCRIPTS)
    script = f'(() => {{\n"use strict";\n{own}}})();\n'
    return Template((_HERE / "page.html").read_text("utf-8")).substitute(
        policy=_policy(plotly, script),
        title=escaped(title(comparison)),
        style=(_HERE / "page.css").read_text("utf-8"),
        header=header(comparison, now),
        contents="".join(f'<li><a href="#{one.name}">{one.short}</a></li>' for one in found),
        sections="\n".join(one.html() for one in found),
        footer="Made by <code>python -m anima_exp.compare</code>. This file is all there is.",
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
