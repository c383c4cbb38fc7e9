"""The page's file, and the page as a reader meets it, in a real browser."""

import json
import re

import pytest
from support import claims, games
from support.claims import HOSTILE

from anima_exp.errors import RunError


@pytest.fixture(scope="module")
def both(tmp_path_factory, written):
    """Three-class and relative verdicts: every section."""
    folder = tmp_path_factory.mktemp("both") / "r"
    games.tournament(folder, players=("ada", "bob", "chat"), questions=20)
    for path in games.relative(folder / "x").glob("*.jsonl"):
        path.rename(folder / f"relative-{path.name}")
    return written(folder)


@pytest.fixture
def shown(browser, both):
    return browser.show(both)


def sections(path):
    return re.findall(r'<section id="(\w+)"', path.read_text())


def test_a_section_with_nothing_to_show_is_left_out(both, tmp_path, written):
    assert sections(both) == ["percents", "ratings", "matrix", "categories", "bias"]
    rows = [games.ours(q, "a", "b", 1 + q % 2, category=None) for q in range(4)]
    games.write(tmp_path / "r" / "a.jsonl", rows)
    assert sections(written(tmp_path / "r")) == ["ratings", "matrix", "bias"]


def test_a_page_that_cannot_be_written_says_so(tmp_path, written):
    games.tournament(tmp_path / "r", questions=2)
    (tmp_path / "r.html").mkdir()
    with pytest.raises(RunError, match=r"Cannot write .*r.html: it is a folder. Give another"):
        written(tmp_path / "r")


def test_it_draws_without_a_fault_and_asks_for_nothing(browser, both):
    claims.opens_without_a_fault_and_asks_for_nothing(browser, both)
    assert browser.value("document.querySelectorAll('.plot svg.main-svg').length") >= 8
    assert browser.value("document.documentElement.dataset.drawn") == "4"


def test_the_matrix_holds_what_the_table_says(shown):
    drawn = shown.value(
        "Array.from(document.querySelectorAll('#matrix-plot .textpoint'), (t) => t.textContent)"
    )
    table = shown.value(
        "Array.from(document.querySelectorAll('#matrix tbody td'), (cell) => cell.textContent)"
    )
    assert len(drawn) == 6
    assert sorted(text.replace("−", "-") for text in drawn) == sorted(filter(None, table))


def test_no_page_scrolls_sideways(shown):
    claims.never_scrolls_sideways(shown, "ratings-plot")


def test_the_plots_follow_the_dark(shown):
    claims.follows_the_dark(shown, "ratings-plot")


def test_hostile_names_are_shown_and_never_run(browser, written, tmp_path):
    rows = [
        games.ours(q, first, second, 1 + q % 2, category=HOSTILE)
        for q in range(6)
        for first, second in ((HOSTILE, "b"), ("b", HOSTILE))
    ]
    relative = [games.ours(q, "b", HOSTILE, [5 + q, 6], category=HOSTILE) for q in range(6)]
    games.write(tmp_path / "r" / "a.jsonl", rows)
    games.write(tmp_path / "r" / "b.jsonl", relative)
    path = written(tmp_path / "r", reference=HOSTILE)
    claims.shows_hostile_texts_and_runs_none(browser, path, title="A tournament of 2 models")
    data = json.loads(browser.value("document.getElementById('data').textContent"))
    assert data["reference"] == HOSTILE
    for place in ("ratings", "matrix", "categories", "percents"):
        text = browser.value(f"document.getElementById('{place}').textContent")
        assert "</script><img" in text
