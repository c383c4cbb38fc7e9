import pytest

from anima_exp.tournament.options import Options
from anima_exp.tournament.page import write_page
from anima_exp.tournament.rate import tournament
from anima_exp.tournament.reading import read
from anima_exp.tournament.verdicts import verdicts


@pytest.fixture(scope="session")
def written():
    """A folder of verdicts -> its page, beside it."""

    def write(folder, **options):
        path = folder.with_suffix(".html")
        found, notes = verdicts(read([folder]), answers={})
        few = {"orders": 100, "samples": 100, **options}
        write_page(path, tournament(found, Options(**few), notes=notes))
        return path

    return write
