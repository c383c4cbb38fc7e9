"""Counts of launches are compared with those that are kept, and docs/gpu.md shows the kept ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def table(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    return sys.modules.get("count_table") or __import__("count_table")


def counts(**changes):
    numbers = {"launches": 10, "products": 4, "waits": 1, "h2d": 7, "d2h": 1, "d2d": 0}
    return {"step": {"7B": {"backward": numbers | changes}}}


def test_equal_counts_have_not_moved(table):
    assert table.moved(counts(), counts(cpu_ms=99)) == ([], False)


@pytest.mark.parametrize("name", ["launches", "products", "waits", "h2d", "d2h", "d2d"])
def test_one_more_of_anything_is_a_rise(table, name):
    number = counts()["step"]["7B"]["backward"][name]
    lines, risen = table.moved(counts(), counts(**{name: number + 1}))
    assert risen
    assert lines == [f"7B, backward, {name}: {number} -> {number + 1} (+1)"]


def test_fewer_launches_are_reported_and_are_no_rise(table):
    lines, risen = table.moved(counts(), counts(launches=3))
    assert lines == ["7B, backward, launches: 10 -> 3 (-7)"]
    assert not risen


def test_a_new_phase_counts_from_zero_and_one_that_is_gone_falls_to_zero(table):
    counted = {"step": {"7B": {"another": {"launches": 2}}}}
    lines, risen = table.moved(counts(), counted)
    assert "7B, another, launches: 0 -> 2 (+2)" in lines
    assert "7B, backward, launches: 10 -> 0 (-10)" in lines
    assert risen


def test_a_model_without_kept_counts_is_named(table):
    assert table.moved({}, counts()) == (["7B, step: not among the kept counts"], False)


def test_a_model_that_is_not_counted_is_refused_with_the_names_of_those_that_are():
    command = [sys.executable, HERE / "count_launches.py", "--driver", HERE, "7B", "9B"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.endswith("there is no model 9B. The models are 7B, 33B, Qwen3-8B.")


def test_the_whole_step_is_the_sum_of_its_phases(table):
    phase = {name: 1.5 for name in table.COLUMNS}
    whole = table.with_whole({"backward": phase, "clip": phase})[table.WHOLE]
    assert whole == {name: 3.0 for name in table.COLUMNS}


def test_the_documentation_shows_the_kept_counts():
    text = (HERE.parents[1] / "docs" / "gpu.md").read_text(encoding="utf-8")
    kept = json.loads((HERE / "counts.json").read_text(encoding="utf-8"))
    assert kept
    for models in (found["step"] for found in kept.values()):
        for model, phases in models.items():
            whole = phases["whole step"]
            cells = [f"{whole[name]:,}" for name in ("launches", "products", "waits")]
            row = f"| {model} | **whole step** | {' | '.join(cells)} |"
            assert row in text, f"docs/gpu.md lacks what make gpu-count --write kept: {row}"
