import importlib.util
import shutil
from pathlib import Path

import pytest

from anima_exp.compare.comparison import build
from anima_exp.compare.page import write_page
from anima_exp.compare.runs import load

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser():
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is installed")
    # Tests are no package here, so a neighbour is imported by its path.
    spec = importlib.util.spec_from_file_location(
        "chromium", Path(__file__).with_name("chromium.py")
    )
    chromium = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(chromium)
    browser = chromium.Browser(program)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def written():
    """Folders of runs or of a sweep -> their page, beside them."""

    def write(folder, **options):
        path = folder.with_suffix(".html")
        write_page(path, build(load([folder]), **options))
        return path

    return write
