"""The parts of the GPU check: one that hangs or fails costs the others nothing."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from check import program, rows
from check.parts import LOG, PARTS, Part, run_parts
from check.rows import FILE, Rows

ROOT = Path(__file__).resolve().parents[3]
WRITE = """
import sys, time, subprocess
sys.path.insert(0, {path!r})
from pathlib import Path
from check.rows import Rows
rows = Rows(Path({out!r}), {part!r})
rows.add("measured", value=1)
"""


def part(name, *, limit=30.0):
    return Part(name, 1, limit, "?")


def run(out, scripts, *, limits=None, seconds=60, least=1):
    parts = [part(name, limit=(limits or {}).get(name, 30)) for name in scripts]

    def command(one):
        begin = WRITE.format(path=str(ROOT / "tests/gpu"), out=str(out), part=one.name)
        return [sys.executable, "-c", begin + scripts[one.name]]

    run_parts(parts, command, out=out, seconds=seconds, least=least)
    return rows.read(out / FILE)


def states(found):
    return {row["part"]: row["state"] for row in found if row["row"] == rows.PART}


def test_a_part_that_hangs_is_killed_with_its_children_and_the_next_one_runs(tmp_path):
    child = tmp_path / "child"
    wait = f"import time, pathlib; time.sleep(2); pathlib.Path({str(child)!r}).touch()"
    hang = f"subprocess.Popen([sys.executable, '-c', {wait!r}]); time.sleep(60)"
    begun = time.monotonic()
    found = run(tmp_path, {"hangs": hang, "next": "rows.add('more', value=2)"}, limits={"hangs": 1})
    assert states(found) == {"hangs": "at its limit", "next": "ended"}
    assert [row["row"] for row in found if row["part"] == "hangs"] == ["part", "measured", "part"]
    time.sleep(max(0, 3 - (time.monotonic() - begun)))
    assert not child.exists()


def test_a_part_that_fails_says_why_and_the_next_one_runs(tmp_path):
    found = run(tmp_path, {"fails": "raise ValueError('no such kernel')", "next": ""})
    assert states(found) == {"fails": "failed", "next": "ended"}
    error = next(row["error"] for row in found if row.get("state") == "failed")
    assert error.endswith("ValueError: no such kernel")
    assert "no such kernel" in (tmp_path / LOG).read_text()


def test_the_time_of_the_whole_check_ends_a_part_and_leaves_out_the_rest(tmp_path):
    found = run(tmp_path, {"long": "time.sleep(60)", "late": ""}, seconds=2)
    assert states(found) == {"long": "out of time", "late": "left out"}
    assert any(row["part"] == "long" and row["row"] == "measured" for row in found)


def test_a_row_that_a_cut_left_unfinished_is_left_out(tmp_path):
    Rows(tmp_path, "kernels").add("mask", as_cpu=True)
    with (tmp_path / FILE).open("a") as file:
        file.write('{"part": "kernels", "row": "ma')
    assert rows.read(tmp_path / FILE) == [{"part": "kernels", "row": "mask", "as_cpu": True}]


def test_an_error_in_one_row_is_written_and_the_part_goes_on(tmp_path):
    some = Rows(tmp_path, "kernels")
    some.attempt("mask", {"width": 5}, lambda: {}["nothing"])
    some.attempt("mask", {"width": 6}, lambda: {"as_cpu": True})
    first, second = rows.read(tmp_path / FILE)
    assert first["width"] == 5 and first["error"].startswith("KeyError: 'nothing' (test_parts.py:")
    assert second["as_cpu"]


def test_of_two_attempts_at_a_part_the_last_one_counts(tmp_path):
    some = Rows(tmp_path, "kernels")
    for value in (1, 2):
        some.add(rows.PART, state="begun")
        some.add("mask", value=value)
    some.add(rows.PART, state="left out")  # by a third command, which had no time for it
    kept = rows.latest(rows.read(tmp_path / FILE))
    assert [row["value"] for row in kept if row["row"] == "mask"] == [2]


def test_without_a_gpu_one_sentence_says_so(monkeypatch, capsys, tmp_path):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert program.main(["--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and said.startswith("anima_exp: This machine has no GPU")
    assert not (tmp_path / "out").exists()


def test_every_part_has_modules_and_the_two_halves_fit_ten_minutes_each():
    assert set(program.MODULES) == {one.name for one in PARTS}
    expected = {one.name: one.expected_seconds for one in PARTS}
    first = ("machine", "kernels", "tiny", "memory")
    assert sum(expected[name] for name in first) < 6 * 60
    assert sum(expected.values()) < 9 * 60
    assert all(one.limit_seconds > one.expected_seconds for one in PARTS)


@pytest.mark.parametrize(("wrong", "status"), [(False, 0), (True, 1)])
def test_a_report_can_be_made_of_the_rows_of_two_commands(tmp_path, capsys, wrong, status):
    for place, name, value in (("a", "kernels", True), ("b", "memory", not wrong)):
        (tmp_path / place).mkdir()
        some = Rows(tmp_path / place, name)
        some.add(rows.PART, state="begun")
        if name == "kernels":
            some.add("mask", tokens=3, as_cpu=value, as_eager=True)
        else:
            some.add("run", run="50% of that memory", compared_with="", out_of_memory=int(value))
        some.add(rows.PART, state="ended", seconds=1.0)
    files = [str(tmp_path / place / FILE) for place in ("a", "b")]
    assert program.main(["--out", str(tmp_path / "c"), "--report", *files]) == status
    text = (tmp_path / "c" / "report.md").read_text()
    assert text in capsys.readouterr().out
    assert "| kernels | ended | 1.0 | 45 |" in text and "| memory | ended | 1.0 | 30 |" in text


def test_the_command_starts_without_installing_anything():
    done = subprocess.run(
        [sys.executable, "-S", ROOT / "tests/gpu/check", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "--rehearsal" in done.stdout


def test_a_row_is_on_the_disk_before_the_next_is_measured(tmp_path):
    found = run(tmp_path, {"dies": "import os; os.kill(os.getpid(), 9)"})
    assert [row["row"] for row in found] == ["part", "measured", "part"]
    assert json.loads((tmp_path / FILE).read_text().splitlines()[1])["value"] == 1
