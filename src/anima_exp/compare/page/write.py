"""A comparison -> one HTML file that needs nothing but itself."""

from datetime import UTC, datetime
from pathlib import Path

from anima_exp.compare.comparison import Comparison
from anima_exp.compare.page.data import plotted
from anima_exp.compare.page.header import header, title
from anima_exp.compare.page.sections import sections
from anima_exp.page import write

_SCRIPTS = ("metric", "levels", "table", "curves", "highlight", "effects", "heatmap", "parallel",
            "generations", "parts")  # fmt: skip


def write_page(path: Path, comparison: Comparison) -> None:
    """Write the page to `path`, whole or not at all.

    Raises:
        RunError: `path` cannot be written.
    """
    write.write(path, page(comparison, now=datetime.now(UTC)))


def page(comparison: Comparison, *, now: datetime) -> str:
    data = plotted(comparison)
    return write.page(
        title=title(comparison),
        header=header(comparison, now),
        sections=list(sections(comparison, data)),
        data=data,
        scripts=[Path(__file__).parent / "scripts" / f"{name}.js" for name in _SCRIPTS],
        program="anima_exp.compare",
    )
