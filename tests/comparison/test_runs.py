import re

import pytest
from support import synthetic

from anima_exp.comparison.runs import State, curves, generations, load
from anima_exp.errors import RunError


def states(runs):
    return {run.name: run.state.value for run in runs.runs}


def test_a_run_a_sweep_and_a_folder_of_runs_count_each_run_once(tmp_path):
    one = synthetic.run(tmp_path / "runs/a")
    other = synthetic.run(tmp_path / "runs/b")
    sweep = synthetic.sweep(tmp_path / "runs/sweeps/s-1", [(one, ["seed=0"])])
    found = load([tmp_path / "runs", one, sweep, sweep / "sweep.json"])
    assert sorted(run.name for run in found.runs) == ["a", "b"]
    assert [sweep.name for sweep in found.sweeps] == ["lora_search"]
    assert {run.name: run.overrides for run in found.runs} == {"a": ("seed=0",), "b": ()}
    assert load([other]).runs[0].scores["heldout_loss"] == 0.5


def test_runs_star_includes_the_folder_of_sweeps(tmp_path):
    run = synthetic.run(tmp_path / "runs/a")
    synthetic.sweep(tmp_path / "runs/sweeps/s-1", [(run, [])])
    found = load(sorted((tmp_path / "runs").iterdir()))
    assert (len(found.runs), len(found.sweeps)) == (1, 1)


def test_a_cells_folder_may_be_relative_to_its_sweep(tmp_path):
    synthetic.run(tmp_path / "runs/a")
    sweep = synthetic.sweep(tmp_path / "runs/sweeps/s-1", [("../../a", [])])
    assert load([sweep]).runs[0].folder == tmp_path / "runs/a"


def test_every_state_is_told_apart(tmp_path):
    cells = [
        (synthetic.run(tmp_path / "done"), []),
        (synthetic.run(tmp_path / "failed", failure="CUDA out of memory"), []),
        (synthetic.run(tmp_path / "running", done=False), []),
        (synthetic.run(tmp_path / "halted", done=False), []),
        (tmp_path / "never", ["lora.rank=2"]),
    ]
    stopped = {"halted": {"step": 10, "reason": "above the median"}}
    found = load([synthetic.sweep(tmp_path / "sweeps/s", cells, stopped=stopped)])
    assert states(found) == {
        "done": "done",
        "failed": "failed",
        "running": "unfinished",
        "halted": "stopped",
        "never": "unfinished",
    }
    assert found.counts()[State.unfinished] == 2
    assert found.runs[1].failure == "CUDA out of memory"
    assert found.runs[2].settings["lora.rank"] == 64  # from settings.json


@pytest.mark.parametrize(
    "text, reason",
    [
        ('{"name": 1', "Expecting ',' delimiter"),
        ("", "Expecting value"),
        ("[1]", "object"),
        ('{"name": "x"}', "missing"),
        ("\ufffe", "Expecting value"),
    ],
)
def test_a_broken_record_is_a_failed_run_with_the_reason(tmp_path, text, reason):
    folder = synthetic.run(tmp_path / "a")
    (folder / "record.json").write_text(text)
    (run,) = load([tmp_path]).runs
    assert run.state is State.failed
    assert run.failure.startswith("record.json cannot be read: ")
    assert reason in run.failure


def test_a_score_that_is_no_number_is_a_broken_record(tmp_path):
    folder = synthetic.run(tmp_path / "a")
    text = (folder / "record.json").read_text().replace(": 0.46", ": NaN")
    (folder / "record.json").write_text(text)
    assert "its exact_match is NaN, not a number" in load([tmp_path]).runs[0].failure


def test_curves_and_generations_are_read_when_asked_for(tmp_path):
    run = load([synthetic.run(tmp_path / "a")]).runs[0]
    assert [row["loss"] for row in curves(run) if "loss" in row] == [0.6, 0.55]
    assert [row["response"] for row in generations(run)] == ["0", "20"]
    (run.folder / "metrics.jsonl").unlink()
    assert curves(run) == []


def told(path):
    with pytest.raises(RunError) as error:
        load([path])
    return str(error.value)


def test_a_path_that_is_nothing_of_ours_says_what_to_give(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    give = "Give run folders, a sweep's folder, or runs/."
    assert told(tmp_path / "nix") == f"{tmp_path}/nix does not exist. {give}"
    assert told(tmp_path / "file") == f"{tmp_path}/file is a file. {give}"
    assert told(tmp_path / "empty") == (
        f"{tmp_path}/empty holds no run and no sweep. Give run folders, a sweep's, or runs/."
    )


def test_a_folder_that_may_not_be_read_is_one_line(tmp_path, monkeypatch):
    def refused(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refused)
    assert told(tmp_path) == f"{tmp_path} cannot be read: Permission denied."


def test_a_broken_sweep_is_one_line(tmp_path):
    sweep = synthetic.sweep(tmp_path / "s", [])
    whole = (sweep / "sweep.json").read_text()
    way_out = "Run the sweep's command again to write a new one, or give the run folders."
    (sweep / "sweep.json").write_text(whole.replace('"swept"', '"swpt"'))
    assert told(sweep) == f"{sweep}/sweep.json has no 'swept'. {way_out}"
    (sweep / "sweep.json").write_text(whole[:20])
    pattern = re.escape(f"{sweep}/sweep.json cannot be read: ") + ".*" + re.escape(way_out)
    assert re.fullmatch(pattern, told(sweep))
