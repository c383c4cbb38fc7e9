"""The commands runs, show and diff: what stands in the terminal, and how they end."""

import csv
import io
import json
import sys
from dataclasses import replace

import pytest
from support import synthetic

from anima_exp import diff_runs, list_runs, show_run
from anima_exp.results.record import Record


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """call(module, *arguments, columns=80): the command's lines, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(module, *arguments, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setattr(sys, "argv", ["anima-exp", *map(str, arguments)])
        status = module.main()
        told = capsys.readouterr()
        assert (status != 0) == bool(told.err)
        return [line.rstrip() for line in (told.err or told.out).splitlines()]

    return run


@pytest.fixture
def runs(tmp_path):
    synthetic.run(tmp_path / "runs/tiny-a1", loss=0.25)
    synthetic.run(tmp_path / "runs/tiny-b2", failure="The loss is not finite at step 12.")
    synthetic.run(tmp_path / "runs/tiny-c3", done=False, seed=1)
    return tmp_path / "runs"


def test_the_list_shows_status_step_age_and_score(call, runs):
    lines = call(list_runs, columns=120)
    assert lines[0] == "1 done, 1 failed, 1 stopped"
    assert lines[2].split() == ["run", "status", "step", "age", "heldout_loss", "note"]
    by_name = {line.split()[0]: line for line in lines[3:]}
    assert by_name["tiny-a1"].split()[1:3] == ["done", "20"]
    assert by_name["tiny-a1"].endswith("0.2500")
    assert by_name["tiny-b2"].endswith("The loss is not finite at step 12.")
    assert by_name["tiny-c3"].split()[1:3] == ["stopped", "20/250"]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_line_is_wider_than_the_terminal(call, runs, columns):
    for module, arguments in (
        (list_runs, []),
        (show_run, ["tiny-b2"]),
        (diff_runs, ["tiny-a1", "tiny-c3"]),
    ):
        lines = call(module, *arguments, columns=columns)
        table = [line for line in lines if " 0.2500" in line or "stopped" in line[:20]]
        assert all(len(line) <= max(columns, 50) for line in table)


def test_the_list_is_limited_and_says_so(call, runs):
    assert "2 more: limit=null shows all" in call(list_runs, "limit=1")
    assert not any("more" in line for line in call(list_runs, "limit=null"))
    assert len(call(list_runs, "limit=null")) == 6


def test_a_status_chooses_runs(call, runs):
    lines = call(list_runs, "status=[failed,stopped]", "sort=name")
    assert [line.split()[0] for line in lines[3:5]] == ["tiny-b2", "tiny-c3"]


def test_the_list_for_programs_has_every_run(call, runs):
    found = json.loads("\n".join(call(list_runs, "format=json", "limit=1")))
    assert {one["run"]: one["status"] for one in found} == {
        "tiny-a1": "done",
        "tiny-b2": "failed",
        "tiny-c3": "stopped",
    }
    rows = list(csv.DictReader(io.StringIO("\n".join(call(list_runs, "format=csv")))))
    assert {row["run"]: row["score"] for row in rows}["tiny-a1"] == "0.25"


def test_what_a_run_wrote_cannot_steer_the_terminal(call, runs):
    synthetic.run(runs / "bad", failure="\x1b[2J[red]")
    for module, arguments in ((list_runs, []), (show_run, ["bad"])):
        text = "\n".join(call(module, *arguments, columns=200))
        assert "\x1b" not in text
        assert "\\x1b[2J[red]" in text


def test_a_run_is_shown_with_scores_files_and_what_to_do_next(call, runs):
    lines = call(show_run, "tiny-a1")
    assert lines[0] == "tiny-a1  done  20 steps"
    assert "heldout_loss  2.1900  0.2500" in lines
    assert any(line.startswith("record.json ") for line in lines)
    assert any(line.startswith("ask it ") and "run=runs/tiny-a1" in line for line in lines)
    assert not any("record.json" in line for line in call(show_run, "tiny-a1", "files=false"))


REPORT = {
    "kinds": [
        {"kind": "attention", "parameters": 327_680, "stored": {"nf4": 327_680}, "bytes": 180_000,
         "matrices": 20, "adapted": 20, "trained": 900},
        {"kind": "norms", "parameters": 1400, "stored": {"fp32": 1400}, "bytes": 5600,
         "matrices": 0, "adapted": 0, "trained": 0},
    ],
    "positions": "RoPE default",
    "attention": "sdpa",
    "rows_apart": "rows are kept apart",
    "template": "guanaco, the loss is computed on the response",
    "left_out": ["the experts have no adapter"],
}  # fmt: skip
CHAT = {
    "template": "chatml",
    "template_hash": "ab12",
    "stop_tokens": ["<|im_end|>"],
    "rows": 10,
    "answers": 30,
    "tokens": {"answers": 50, "system": 50},
    "trained_tokens": 50,
    "max_tokens": 512,
    "too_long": "cut",
}


def with_record(folder, **values):
    """Change fields of a run's record."""
    replace(Record.load(folder), **values).save(folder)


def test_a_finished_run_shows_what_it_trained(call, runs):
    with_record(runs / "tiny-a1", report=REPORT)
    lines = call(show_run, "tiny-a1", columns=200)
    start = lines.index("trains    1,000 of 100,000 parameters, 1.00 %")
    assert lines[start + 1 : start + 7] == [
        "modules   attention 327.7 k in nf4, adapters on all 20 matrices",
        "frozen    norms 1.4 k in fp32",
        "positions RoPE default",
        "attention sdpa; rows are kept apart",
        "template  guanaco, the loss is computed on the response",
        "untrained the experts have no adapter",
    ]
    found = json.loads("\n".join(call(show_run, "tiny-a1", "format=json")))
    assert found["report"] == REPORT
    assert found["parameters"] == {"trainable": 1000, "total": 100_000}


def test_the_template_of_conversations_is_that_of_the_chat_lines(call, runs):
    with_record(runs / "tiny-a1", report=REPORT, chat=CHAT)
    lines = call(show_run, "tiny-a1", columns=200)
    assert [line for line in lines if line.startswith("template")] == [
        "template  chatml (ab12), answers end with <|im_end|>; trained on 30 answers in 10 rows: "
        "50 of 100 tokens (50.0%)"
    ]


def test_a_record_without_a_report_shows_the_trained_parameters_only(call, runs):
    with_record(runs / "tiny-a1", report={})
    lines = call(show_run, "tiny-a1")
    assert "trains    1,000 of 100,000 parameters, 1.00 %" in lines
    headings = ("modules", "frozen", "positions", "attention", "template", "untrained")
    assert not any(line.startswith(headings) for line in lines)
    assert not any(line.startswith("trains") for line in call(show_run, "tiny-c3"))


def test_a_failed_run_shows_why_and_how_to_retry(call, runs):
    lines = call(show_run, "runs/tiny-b2")
    assert "The loss is not finite at step 12." in lines
    assert any(line.startswith("retry ") for line in lines)
    assert "note      There is no checkpoint, so it starts from the beginning." in lines


def test_one_run_for_programs_is_json(call, runs):
    found = json.loads("\n".join(call(show_run, "tiny-a1", "format=json")))
    assert found["scores"]["heldout_loss"] == {"before": 2.19, "after": 0.25}
    assert call(show_run, "tiny-a1", "format=csv")[0].startswith("anima_exp: format=csv: ")


def test_two_runs_stand_side_by_side(call, runs):
    lines = call(diff_runs, "tiny-a1", "tiny-c3")
    assert lines[0].startswith("A  runs/tiny-a1  done")
    assert lines[1].startswith("B  runs/tiny-c3  stopped")
    assert "seed     0  1" in lines
    assert "heldout_loss  0.2500  0.5000  +0.2500" in lines


def test_the_difference_for_programs_names_both_values(call, runs):
    found = json.loads("\n".join(call(diff_runs, "tiny-a1", "tiny-c3", "format=json")))
    assert found["settings"] == {"seed": [0, 1]}
    rows = list(csv.reader(call(diff_runs, "tiny-a1", "tiny-c3", "format=csv")))
    assert ["setting", "seed", "0", "1"] in rows


@pytest.mark.parametrize(
    ("module", "arguments", "told"),
    [
        (list_runs, ["nothing"], "nothing does not exist. Give a folder of runs"),
        (
            list_runs,
            ["status=faild"],
            "status=faild is not one of running, done, failed, stopped, pruned. Did",
        ),
        (list_runs, ["stauts=done"], "There is no setting 'stauts'. Did you mean 'status'?"),
        (list_runs, ["limit=0"], "limit=0 must be greater than 0."),
        (show_run, [], "Give one run: anima-exp show runs/NAME."),
        (show_run, ["nothing"], "There is no run nothing."),
        (diff_runs, ["tiny-a1"], "diff compares two runs, and 1 are given."),
    ],
)
def test_a_mistake_is_one_line(call, runs, module, arguments, told):
    (line,) = call(module, *arguments)
    assert line.startswith(f"anima_exp: {told}")
