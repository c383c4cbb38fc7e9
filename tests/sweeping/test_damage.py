"""A damaged file of one cell costs that cell some work, and the others nothing."""

import json

import pytest

from anima_exp.sweeping.cell import Cell, State

GARBAGE = [b'{"a":', b"{}", b"\xff\xfe\x00", b"[1, 2]", b""]


@pytest.fixture
def cell(compose, tmp_path):
    return Cell(0, (), "label", compose(), "name", tmp_path)


@pytest.mark.parametrize("content", GARBAGE)
def test_a_damaged_record_is_not_done(cell, content):
    (cell.folder / "record.json").write_bytes(content)
    assert cell.state is State.new
    assert cell.damage and "\n" not in cell.damage


def test_damaged_lines_are_left_out(cell):
    lines = [
        b'{"step": 1, "loss": 2.5}', b'{"step": 2, "loss": "low"}', b'{"step": 3, "loss": NaN}',
        b'{"loss": 1.0}', b'[3]', b'{"step": "4", "loss": 1.0}', b'\xff\xfe', b'{"step": 5, "lo',
    ]  # fmt: skip
    (cell.folder / "metrics.jsonl").write_bytes(b"\n".join(lines))
    assert cell.measured("loss") == [(1, 2.5)]


def test_a_damaged_failure_is_still_a_line(cell):
    (cell.folder / "failure.txt").write_bytes(b"\xff broken\nmore")
    assert cell.failure == "� broken"
    (cell.folder / "failure.txt").write_bytes(b"")
    assert cell.failure == "no reason was recorded"


def test_the_sweep_makes_the_damaged_cell_anew_and_says_so(sweeps):
    assert sweeps.run("seed=0,1,2,3")[0] == 0
    whole = sweeps.records()
    names = {record["settings"]["seed"]: name for name, record in whole.items()}
    (sweeps.runs / names[0] / "record.json").write_text('{"name": "tiny')
    (sweeps.runs / names[1] / "settings.json").write_text('{"seed": ')
    (sweeps.runs / names[1] / "record.json").unlink()
    (sweeps.runs / names[2] / "metrics.jsonl").write_bytes(b"\xff\xfe")
    (sweeps.runs / names[2] / "record.json").write_text("[]")
    (sweeps.runs / names[3] / "starts.txt").write_bytes(b"\xff\xfe")
    [file] = sweeps.runs.glob("sweeps/*/sweep.json")
    file.write_text('{"name": ')
    code, told = sweeps.run("seed=0,1,2,3")
    assert "Traceback" not in told
    assert f"damaged  #0 seed=0: runs/{names[0]}/record.json cannot be read (" in told
    assert f"failed   #1 seed=1: runs/{names[1]}/settings.json is damaged: " in told
    assert "3 of 4 runs done, 1 failed" in told
    assert code == 1
    again = sweeps.records()
    assert {again[names[n]]["settings"]["seed"] for n in (0, 2, 3)} == {0, 2, 3}
    assert again[names[3]]["finished"] == whole[names[3]]["finished"], "nothing was wrong with it"
    assert len(json.loads(file.read_text())["cells"]) == 4


def test_a_damaged_search_says_what_to_do(sweeps):
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "seed=0,1")
    code, told = sweeps.run(*search)
    assert code == 0, told
    [journal] = sweeps.runs.glob("sweeps/*/study.jsonl")
    text = journal.read_text()
    for line in ('{"op_code": 4', "{}"):
        journal.write_text(f"{line}\n{text}")
        code, told = sweeps.run(*search)
        assert code == 1
        assert "Traceback" not in told
        [said] = [one for one in told.splitlines() if one.startswith("anima_exp: ")]
        assert "study.jsonl is damaged: " in said
        assert "move it away. The search then starts again" in said
    journal.unlink()
    code, told = sweeps.run(*search)
    assert code == 0, told
