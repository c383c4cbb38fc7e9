import pytest

from anima_exp.comparison.build import build
from anima_exp.comparison.page import write_page
from anima_exp.comparison.runs import load


@pytest.fixture(scope="session")
def written():
    """Folders of runs or of a sweep -> their page, beside them."""

    def write(folder, **options):
        path = folder.with_suffix(".html")
        write_page(path, build(load([folder]), **options))
        return path

    return write
