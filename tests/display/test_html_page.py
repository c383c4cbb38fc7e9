"""What every template of the pages and of the notebooks keeps."""

import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError, meta

import anima_exp
from anima_exp.display.html_page import Column, Line, Table, Value, environment

PACKAGE = Path(anima_exp.__file__).parent
TEMPLATES = sorted(PACKAGE.rglob("*.jinja"))
HOSTILE = "\"><b onclick='x'>&\x1b"


def rendered(source, **values):
    return environment().from_string(source).render(**values)


def test_all_markup_is_in_templates():
    assert len(TEMPLATES) > 10
    python = [
        path
        for folder in ("display", "comparison", "tournament")
        for path in (PACKAGE / folder).rglob("*.py")
    ]
    assert len(python) > 30
    found = [p.name for p in python for tag in ("</", "<div", "<td") if tag in p.read_text("utf-8")]
    assert found == []


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_turns_escaping_off(path):
    assert environment(path.parent).autoescape is True
    text = path.read_text("utf-8")
    assert "autoescape" not in text
    assert "|safe" not in text.replace(" ", "")
    meta.find_undeclared_variables(environment().parse(text))  # it compiles


def test_a_value_is_escaped_in_text_and_in_attributes():
    text = rendered('<a title="{{ text }}">{{ text }}</a>', text=HOSTILE)
    assert text.count("<") == 2
    assert text.count('"') == 2
    assert text.count(r"\x1b") == 2
    assert "'" not in text


def test_a_name_that_python_does_not_give_is_an_error():
    for text in ("{{ missing }}", "{% if one.missing %}{% endif %}"):
        with pytest.raises(UndefinedError, match="missing"):
            rendered(text, one=Value())


def test_a_line_with_too_few_values_is_an_error():
    with pytest.raises(ValueError, match=r"Scores: a line needs 2 values\."):
        Table("Scores", [Column("a"), Column("b")], [Line([Value(1)])])


def test_jinja2_is_loaded_only_when_a_page_is_written():
    code = (
        "import sys, anima_exp.comparison.page, anima_exp.tournament.page;"
        "import anima_exp.display.notebook; print('jinja2' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
