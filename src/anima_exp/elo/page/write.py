"""A tournament -> one HTML file that needs nothing but itself."""

from datetime import UTC, datetime
from pathlib import Path

from anima_exp.elo.page.data import plotted
from anima_exp.elo.page.header import TITLE, header
from anima_exp.elo.page.sections import sections
from anima_exp.elo.tournament import Tournament
from anima_exp.page import write

_SCRIPTS = ("intervals", "fields", "parts")


def write_page(path: Path, found: Tournament) -> None:
    """Write the page to `path`, whole or not at all.

    Raises:
        RunError: `path` cannot be written.
    """
    write.write(path, page(found, now=datetime.now(UTC)))


def page(found: Tournament, *, now: datetime) -> str:
    return write.page(
        title=TITLE.format(count=len(found.players)),
        header=header(found, now),
        sections=list(sections(found)),
        data=plotted(found),
        scripts=[Path(__file__).parent / "scripts" / f"{name}.js" for name in _SCRIPTS],
        program="anima_exp.elo",
    )
