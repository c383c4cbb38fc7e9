"""The hooks of the site: pages of root files and notebooks, and nothing from other hosts."""

import importlib.util
import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"


def hook(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / "hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://example.com/a.js"></script>',
        '<link rel="stylesheet" href="https://example.com/a.css">',
        '<link rel="preconnect" href="https://example.com">',
        '<img src="//example.com/a.png">',
        '<p style="background: url(https://example.com/a.png)">',
        "<style>@import 'https://example.com/a.css';</style>",
    ],
)
def test_what_a_page_loads_from_another_host_is_found(page):
    assert len(hook("site").foreign(page)) == 1


@pytest.mark.parametrize(
    "page",
    [
        '<a href="https://example.com">a link</a>',
        '<link rel="canonical" href="https://example.com/page">',
        '<img src="images/a.png"><script src="assets/a.js"></script>',
        '<p style="color: red">https://example.com</p>',
    ],
)
def test_a_link_loads_nothing(page):
    assert hook("site").foreign(page) == []


def test_a_style_sheet_that_loads_a_font_is_found():
    css = "@font-face { src: url('https://example.com/font.woff2') } a { color: red }"
    assert hook("site").foreign(css, css=True) == ["https://example.com/font.woff2"]


def test_the_links_of_a_root_file_lead_to_pages():
    text = "[GPUs](docs/gpu.md#tests), [code](src/anima_exp/train.py), [web](https://example.com)"
    page = hook("site").as_page(text, DOCS)
    assert page == "[GPUs](gpu.md#tests), code, [web](https://example.com)"


def notebook(*cells):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells)})


def cell(source, *outputs, count=1):
    return {
        "cell_type": "code", "id": "a", "metadata": {}, "source": source,
        "execution_count": count, "outputs": list(outputs),
    }  # fmt: skip


TITLE = {"cell_type": "markdown", "id": "t", "metadata": {}, "source": "# A title\n\nText."}


def test_a_notebook_becomes_a_page_with_its_outputs():
    pytest.importorskip("nbconvert", reason="the docs extra is not installed: make docs")
    table = {"output_type": "display_data", "metadata": {}, "data": {"text/html": "<b>47 %</b>"}}
    image = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "iVBORw0KGgo="}}
    text, images = hook("notebooks").page(notebook(TITLE, cell("1 + 1", table, image)), "first")
    assert text.startswith("# A title\n\n[Download this notebook](first.ipynb).")
    assert "```python\n1 + 1\n```" in text
    assert "<b>47 %</b>" in text
    assert [name.startswith("first_files/") for name in images] == [True]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (cell("1 + 1", count=None), "cell 2 was not executed"),
        (
            cell("1 / 0", {"output_type": "error", "ename": "ZeroDivisionError"}),
            "ended with an error",
        ),
    ],
)
def test_a_notebook_without_whole_outputs_fails_the_build(code, why):
    pytest.importorskip("nbconvert", reason="the docs extra is not installed: make docs")
    with pytest.raises(ValueError, match=why):
        hook("notebooks").page(notebook(TITLE, code), "first")
