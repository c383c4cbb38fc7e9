"""The list of runs says what became of each run, and reads no more than it needs."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import synthetic

from anima_exp.errors import RunError
from anima_exp.inspection.listing import list_runs, ordered, runs_in
from anima_exp.inspection.options import Status

HELD = """
import fcntl, sys, time
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def held():
    """held(folder): another process works on the run, as far as anybody can see."""
    started = []

    def hold(folder):
        (folder / ".owner").write_text("process 4711 on node3")
        command = [sys.executable, "-c", HELD, str(folder / ".lock")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout.readline() == b"held\n"

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def by_name(folder):
    return {run.name: run for run in list_runs(folder)}


def test_a_done_run_has_its_steps_and_its_score(tmp_path):
    synthetic.run(tmp_path / "a", loss=0.25, steps=20)
    (run,) = list_runs(tmp_path)
    assert (run.name, run.status, run.step, run.steps) == ("a", Status.done, 20, 20)
    assert (run.metric, run.score, run.progress) == ("heldout_loss", 0.25, 1.0)
    assert run.changed == 1767225600.0  # record.json says when it finished


def test_a_run_without_a_record_is_stopped_where_its_log_ends(tmp_path):
    synthetic.run(tmp_path / "a", done=False, steps=20)
    run = by_name(tmp_path)["a"]
    assert (run.status, run.step, run.steps, run.progress) == (Status.stopped, 20, 250, 0.08)
    assert run.score == 0.5


def test_a_run_without_evaluations_has_no_score(tmp_path):
    folder = synthetic.run(tmp_path / "a", done=False)
    rows = [{"schema_version": 1, "step": 0, "eval_seconds": 0.0}, {"step": 10, "loss": 2.1}]
    synthetic.lines(folder / "metrics.jsonl", rows)
    run = by_name(tmp_path)["a"]
    assert (run.step, run.metric, run.score) == (10, None, None)


def test_a_checkpoint_counts_that_is_later_than_the_log(tmp_path):
    folder = synthetic.run(tmp_path / "a", done=False, steps=20)
    for step in (15, 25):
        (folder / f"checkpoints/checkpoint-{step}").mkdir(parents=True)
    assert by_name(tmp_path)["a"].step == 25


def test_a_run_is_running_while_a_process_holds_its_lock(tmp_path, held):
    for name in ("running", "killed"):
        synthetic.run(tmp_path / name, done=False)
    held(tmp_path / "running")
    (tmp_path / "killed/.owner").write_text("process 1 on node3")
    (tmp_path / "killed/.lock").write_text("")
    found = by_name(tmp_path)
    assert (found["running"].status, found["running"].note) == (
        Status.running,
        "process 4711 on node3",
    )
    assert found["killed"].status is Status.stopped


def test_a_failed_run_says_why_in_one_line(tmp_path):
    synthetic.run(tmp_path / "a", failure="CUDA out of memory\nmore about it")
    run = by_name(tmp_path)["a"]
    assert (run.status, run.note) == (Status.failed, "CUDA out of memory")


def test_a_run_that_failed_before_its_settings_were_written_is_listed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/failure.txt").write_text("The disk is full.")
    assert by_name(tmp_path)["a"].status is Status.failed


def test_a_damaged_record_makes_a_failed_run_that_names_the_file(tmp_path):
    (synthetic.run(tmp_path / "a") / "record.json").write_text('{"name": 1}')
    run = by_name(tmp_path)["a"]
    assert run.status is Status.failed
    assert run.note.startswith("record.json cannot be read: ")


def test_a_record_of_a_later_version_stays_done(tmp_path):
    folder = synthetic.run(tmp_path / "a")
    values = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**values, "schema_version": 99}))
    run = by_name(tmp_path)["a"]
    assert run.status is Status.done
    assert "Update anima-exp." in run.note


def test_the_end_of_a_long_log_is_enough(tmp_path):
    folder = synthetic.run(tmp_path / "a", done=False)
    rows = [{"step": step, "loss": 1.0, "epoch": step / 100} for step in range(5000)]
    rows[4990] = {"step": 4990, "heldout_loss": 0.75, "eval_seconds": 1.0}
    synthetic.lines(folder / "metrics.jsonl", rows)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5000, "lo')  # a crash cut it short
    run = by_name(tmp_path)["a"]
    assert (run.step, run.score) == (4999, 0.75)


def test_the_planned_steps_follow_from_epochs(tmp_path):
    settings = {"trainer.max_steps": None, "trainer.num_epochs": 3.0}
    folder = synthetic.run(tmp_path / "a", done=False, **settings)
    synthetic.lines(folder / "metrics.jsonl", [{"step": 50, "loss": 1.0, "epoch": 0.5}])
    assert by_name(tmp_path)["a"].steps == 300


def test_a_cell_that_its_sweep_stopped_is_pruned(tmp_path):
    cell = synthetic.run(tmp_path / "runs/slow", done=False)
    stopped = {"slow": {"step": 83, "reason": "heldout_loss is above the median"}}
    synthetic.sweep(tmp_path / "runs/sweeps/s-1", [(cell, [])], stopped=stopped)
    for folder in ("runs", "runs/sweeps", "runs/sweeps/s-1"):
        (run,) = list_runs(tmp_path / folder)
        assert (run.status, run.note) == (
            Status.pruned,
            "at step 83: heldout_loss is above the median",
        )


def test_cells_that_never_started_are_no_runs(tmp_path):
    cells = [(synthetic.run(tmp_path / "runs/a"), []), (tmp_path / "runs/later", [])]
    sweep = synthetic.sweep(tmp_path / "s", cells)
    assert [run.name for run in list_runs(sweep)] == ["a"]


def test_one_run_is_a_list_of_one(tmp_path):
    assert [run.name for run in list_runs(synthetic.run(tmp_path / "a"))] == ["a"]


def test_a_run_of_two_folders_is_listed_once(tmp_path):
    cell = synthetic.run(tmp_path / "runs/a")
    assert len(runs_in([tmp_path / "runs", cell])) == 1


def test_the_newest_run_comes_first(tmp_path):
    for age, name in enumerate("abc"):
        folder = synthetic.run(tmp_path / name, done=False)
        for file in folder.iterdir():
            os.utime(file, (time.time() - 100 * age,) * 2)
    assert [run.name for run in list_runs(tmp_path)] == ["a", "b", "c"]


def test_runs_are_sorted_by_score_the_best_first(tmp_path):
    for name, loss in (("a", 0.5), ("b", 0.25), ("c", 0.75)):
        synthetic.run(tmp_path / name, loss=loss)
    synthetic.run(tmp_path / "d", failure="no memory", scores={})
    names = [run.name for run in ordered(list_runs(tmp_path), "score")]
    assert names == ["b", "a", "c", "d"]
    by_accuracy = [
        synthetic.run(tmp_path / "e" / name, scores={"mmlu": value})
        for name, value in (("low", 0.2), ("high", 0.4))
    ]
    assert [run.name for run in ordered(runs_in(by_accuracy), "score")] == ["high", "low"]


def test_only_the_wanted_statuses_are_returned(tmp_path):
    synthetic.run(tmp_path / "a")
    synthetic.run(tmp_path / "b", failure="no memory")
    assert [run.name for run in list_runs(tmp_path, statuses=[Status.failed])] == ["b"]


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(RunError, match=f"{tmp_path} holds no run and no sweep"):
        list_runs(tmp_path)
    with pytest.raises(RunError, match="does not exist"):
        list_runs(tmp_path / "nothing")


def test_a_broken_sweep_file_does_not_hide_the_runs(tmp_path):
    synthetic.run(tmp_path / "a")
    (tmp_path / "sweeps/s").mkdir(parents=True)
    (tmp_path / "sweeps/s/sweep.json").write_text("{")
    assert [run.name for run in list_runs(tmp_path)] == ["a"]
    with pytest.raises(RunError, match=r"sweep\.json cannot be read"):
        list_runs(tmp_path / "sweeps/s")


def test_a_thousand_runs_are_listed_in_seconds(tmp_path):
    first = synthetic.run(tmp_path / "run0")
    for number in range(1, 1000):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        for file in ("record.json", "settings.json", "metrics.jsonl"):
            os.link(first / file, folder / file)
    started = time.process_time()
    assert len(list_runs(tmp_path)) == 1000
    assert time.process_time() - started < 3  # 0.3 s on a laptop


HEAVY = ("torch", "numpy", "transformers", "datasets", "hydra", "pandas")


def test_nothing_heavy_is_imported(tmp_path):
    synthetic.run(tmp_path / "a")
    probe = f"""
import sys
sys.argv = ["anima-exp", {str(tmp_path)!r}]
from anima_exp.list_runs import main
assert main() == 0
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == ""
    assert Path(tmp_path / "a").is_dir()
