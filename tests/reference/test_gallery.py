"""The gallery has every experiment and sweep, and its figures are those of the planner."""

import re
from pathlib import Path

import pytest

from anima_exp.display.units import hours
from anima_exp.reference.gallery import Gallery, gallery_page
from anima_exp.system.paths import shipped

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "gallery.md").read_text(encoding="utf-8")
STALE = "run: make gallery"


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return Gallery(tmp_path_factory.mktemp("cache"))


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def row(pattern):
    """The cells of the one row of a table that has the text."""
    (line,) = [line for line in PAGE.splitlines() if line.startswith("|") and pattern in line]
    return cells(line)


def section(sweep):
    return PAGE.split(f"### `sweep={sweep}`\n")[1].split("\n### ")[0]


def test_the_page_has_every_experiment_once(gallery):
    folder = shipped("conf") / "experiment"
    names = [p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.yaml")]
    assert len(names) > 20
    shown = re.findall(r"`anima-exp train experiment=([\w/]+)`", PAGE)
    assert sorted(shown) == sorted(names), STALE
    for entry in gallery.experiments:
        assert row(f"experiment={entry.name}`")[0].startswith(entry.sentences[0]), STALE


def test_the_page_has_every_sweep_with_its_question_and_jobs(gallery):
    shown = re.findall(r"^### `sweep=(\w+)`$", PAGE, re.MULTILINE)
    assert shown == sorted(path.stem for path in shipped("sweeps").glob("*.yaml")), STALE
    for entry in gallery.sweeps:
        text = section(entry.name)
        assert f"{entry.question} {entry.jobs} jobs." in text, STALE
        assert f"anima-exp train -m sweep={entry.name}\n" in text
        assert entry.notes in text, STALE


def test_every_quoted_figure_of_a_sweep_is_on_the_page(gallery):
    quoted = [entry for entry in gallery.sweeps if entry.published]
    assert len(quoted) >= 5
    for entry in quoted:
        text = section(entry.name)
        assert ("(unconfirmed)" in text) is not entry.published["confirmed"], STALE
        values = re.findall(r"^\| .* \| ([\d.]+) \|$", text, re.MULTILINE)
        assert values == [str(one["value"]) for one in entry.published["rows"]], STALE


@pytest.mark.parametrize("name", ["anima33b", "table9/65b_oasst1"])
def test_the_hours_of_an_experiment_are_the_planners(gallery, name):
    (entry,) = [one for one in gallery.experiments if one.name == name]
    (planned,) = gallery.costs(entry)
    shown = row(f"experiment={name}`")[1:4]
    for text, one in zip(shown, planned.on_gpus[:3], strict=True):
        expected = hours(planned.hours_on(one)) if one.execution.fits else "does not fit"
        assert text.removesuffix(", paged") == expected, STALE


def test_the_hours_of_a_sweep_are_the_sum_of_those_of_its_cells(gallery):
    (entry,) = [one for one in gallery.sweeps if one.name == "table9"]
    costs = gallery.costs(entry)
    assert len(costs) == entry.jobs == 16
    lines = [line for line in section("table9").splitlines() if line.startswith("| RTX 4090")]
    place = 0  # of the RTX 4090 among the planner's GPUs
    fitting = [one for one in costs if one.on_gpus[place].execution.fits]
    total = sum(one.hours_on(one.on_gpus[place]) for one in fitting)
    # The rows of LongForm are unknown.
    assert cells(lines[0])[1:] == [f"{len(fitting)} of 16", f"at most {hours(total)}"], STALE


@pytest.mark.slow
def test_the_whole_page_is_what_the_planner_says(gallery):
    assert gallery_page(gallery) == PAGE, STALE
