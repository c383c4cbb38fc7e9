"""The command doctor: a report with a way out, and an exit status."""

import json
import sys

import pytest

from anima_exp import doctor
from anima_exp.diagnostics import report, software
from anima_exp.diagnostics.findings import Finding, Level


@pytest.fixture
def run(monkeypatch, capsys):
    """run(findings, *arguments): exit status and output of the command on such a machine."""

    def _run(findings, *arguments, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        if findings is not None:
            monkeypatch.setattr(report, "examine", lambda config: findings)
        monkeypatch.setattr(sys, "argv", ["anima-exp", *arguments])
        return doctor.main(), capsys.readouterr().out

    return _run


GOOD = [Finding("software", "torch", "2.13"), Finding("hardware", "cores", "8")]
WARNED = [*GOOD, Finding("storage", "runs", "2 GiB free", Level.warning, "Make room.")]
BROKEN = [*GOOD, Finding("software", "rich", "not installed", Level.broken, "pip install rich")]


def test_a_machine_that_works_exits_with_0(run):
    status, text = run(GOOD)
    assert status == 0
    assert text.splitlines()[:2] == ["Software", "  ok torch  2.13"]
    assert text.endswith("Runs work on this machine. Try the tiny world: anima-exp train\n")


def test_a_warning_is_named_and_exits_with_0(run):
    status, text = run(WARNED)
    assert status == 0
    assert "  !  runs   2 GiB free\n            Make room.\n" in text
    assert text.endswith("Could be better: runs.\n")


def test_what_is_broken_is_named_and_exits_with_1(run):
    status, text = run(BROKEN)
    assert status == 1
    assert text.endswith("A run cannot work on this machine yet. Repair: rich.\n")


def test_a_program_reads_json(run):
    status, text = run(BROKEN, "format=json")
    found = json.loads(text)
    assert (status, found["works"]) == (1, False)
    assert found["findings"][-1]["advice"] == "pip install rich"


def test_no_line_is_wider_than_the_terminal(run):
    long = [Finding("network", "hub", "word " * 60, Level.info, "advice " * 40)]
    _, text = run(long, columns=60)
    assert max(map(len, text.splitlines())) <= 63  # the conclusion is one line in a pipe


def test_this_machine_is_examined(run, monkeypatch, tmp_path):
    monkeypatch.setattr(
        software,
        "probe",
        lambda: {"error": "not tried in this test"},
    )
    status, text = run(None, "network=false", f"runs_dir={tmp_path}", "format=json")
    found = {one["name"]: one for one in json.loads(text)["findings"]}
    assert status == 1
    assert found["torch"]["value"] == "not tried in this test"
    assert {"Python", "transformers", "memory", "runs", "cache", "hub"} <= set(found)


@pytest.mark.slow
def test_this_machine_can_train(run, tmp_path):
    status, text = run(None, f"runs_dir={tmp_path}", "format=json")
    found = {one["name"]: one for one in json.loads(text)["findings"]}
    assert status == 0
    assert "a 4-bit layer has gradients" in found["bitsandbytes"]["value"]
