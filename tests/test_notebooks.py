"""The notebooks in docs/notebooks run, and show what they were stored with."""

import json
from pathlib import Path

import pytest
from support import notebooks

FILES = sorted((Path(__file__).parents[1] / "docs/notebooks").glob("*.ipynb"))


def test_there_are_notebooks_with_stored_outputs():
    assert [file.stem for file in FILES] == ["a_sweep", "first_run"]
    for file in FILES:
        notebook = json.loads(file.read_text(encoding="utf-8"))
        shown = [notebooks.shown(cell) for cell in notebooks.cells(notebook)]
        assert sum(map(bool, shown)) >= 7
        assert not any("/tmp" in text or "Traceback" in text for text in shown)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_notebook_shows_what_it_was_stored_with(file, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = notebooks.executed(file, tmp_path)
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert notebooks.differences(kept, found) == []


def notebook(*pairs):
    return {
        "cells": [
            {
                "cell_type": "code", "metadata": {"tags": tags}, "source": [],
                "outputs": [{"text": [text]}],
            }
            for text, tags in pairs
        ]
    }  # fmt: skip


def test_the_check_would_notice_other_words_and_other_numbers():
    kept = notebook(("loss 0.52, 12 s", []), ("a100", ["machine"]))
    assert notebooks.differences(kept, notebook(("loss 0.53, 70 s", []), ("h100", []))) == []
    (words,) = notebooks.differences(kept, notebook(("mean 0.52, 12 s", []), ("", [])))
    assert words == "loss 0.52, 12 s\n-- is now --\nmean 0.52, 12 s"
    assert len(notebooks.differences(kept, notebook(("loss 0.72, 12 s", []), ("", [])))) == 1


def test_a_cell_shows_what_it_prints_and_its_last_value(tmp_path):
    file = tmp_path / "one.ipynb"
    source = ["from pathlib import Path\n", "print(Path.cwd().name)\n", "1 + 1"]
    cell = {"cell_type": "code", "metadata": {}, "source": source, "outputs": []}
    file.write_text(json.dumps({"cells": [cell]}))
    (tmp_path / "inside").mkdir()
    (found,) = notebooks.cells(notebooks.executed(file, tmp_path / "inside"))
    assert notebooks.shown(found) == "inside\n\n2"
