"""What strangers wrote is text in every output: no formula, no mark, no command of a terminal."""

import csv
import io

import pytest
from support import synthetic

from anima_exp.comparison.build import build
from anima_exp.comparison.export import FORMATS
from anima_exp.comparison.runs import load
from anima_exp.display.tables import escape_formula


@pytest.mark.parametrize(
    "value, written",
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-cmd", "'-cmd"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", r"\r=1"),
        ("a\rb", r"a\rb"),
        ("\x1b[2J", r"\x1b[2J"),
        ("-1e-05", "-1e-05"),
        ("+3", "+3"),
        (-0.5, -0.5),
        (None, None),
        ("a=b", "a=b"),
    ],
)
def test_no_csv_cell_begins_a_formula(value, written):
    assert escape_formula(value) == written


@pytest.fixture
def comparison(tmp_path):
    """Names of runs, settings and scores that do harm where they are taken for more than text."""
    scores = {"heldout_loss": 0.5, "=cmd|a": -1.5, "\x1b[2Jred": 2.0}
    settings = {"data.name": "=HYPERLINK()", "lora.a|b\x1b[31m": "@x\ry"}
    synthetic.run(tmp_path / "-x\x1b[1m", scores=scores, **settings)
    other = {"data.name": "[a](b)<i>", "lora.a|b\x1b[31m": "-"}
    synthetic.run(tmp_path / "b", loss=0.6, **other)
    return build(load([tmp_path]))


@pytest.mark.parametrize("name", FORMATS)
def test_no_control_character_reaches_a_terminal(comparison, name):
    text = FORMATS[name](comparison)
    assert "\x1b" not in text
    assert "\r" not in text


def test_csv_keeps_numbers_and_disarms_formulas(comparison):
    rows = list(csv.reader(io.StringIO(FORMATS["csv"](comparison))))
    assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+@")]
    first = dict(zip(rows[0], rows[1], strict=True))
    assert first["data.name"] == "'=HYPERLINK()"
    assert first["'=cmd|a"] == "-1.5"
    assert first["runs"] == r"'-x\x1b[1m"


def test_markdown_has_as_many_cells_in_each_row(comparison):
    lines = FORMATS["markdown"](comparison).splitlines()
    cells = [line.replace(r"\|", "").count("|") for line in lines if line.startswith("|")]
    assert len(set(cells)) == 1
    assert "[a](b)<i>" not in "".join(lines)
    assert r"\[a\](b)\<i\>" in "".join(lines)


def test_a_latex_row_cannot_begin_with_an_option(tmp_path):
    for name in ("[2cm]", "x"):
        synthetic.run(tmp_path / name, **{"data.name": name}, loss=len(name))
    text = FORMATS["latex"](build(load([tmp_path]), baseline="data=x"))
    assert "data={[}2cm{]} & " in text
