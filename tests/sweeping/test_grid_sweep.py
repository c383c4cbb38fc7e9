"""A sweep does what is missing, once, and says what became of every cell."""

import os
import signal
import time

import pytest
from support.stand_in_run import wait_for

from anima_exp.sweeping.processes import environment
from anima_exp.system.hardware import cores


def test_every_cell_is_done_and_the_same_command_does_nothing(sweeps):
    code, told = sweeps.run("seed=0,1", "optimizer.learning_rate=1e-3,2e-3")
    assert code == 0, told
    first = sweeps.records()
    assert len(first) == 4
    assert "4 of 4 runs done" in told
    code, told = sweeps.run("seed=0,1", "optimizer.learning_rate=1e-3,2e-3")
    assert code == 0
    assert "4: 4 done" in told
    assert sweeps.records() == first


def test_a_value_added_to_the_grid_adds_its_cells_alone(sweeps):
    sweeps.run("seed=0,1")
    first = sweeps.records()
    code, told = sweeps.run("seed=0,1,2")
    assert code == 0
    assert "3: 2 done, 1 new" in told
    assert len(sweeps.records()) == 3
    assert first.items() <= sweeps.records().items()


def test_one_failing_cell_does_not_stop_the_others(sweeps):
    code, told = sweeps.run("lora.rank=8,13,16")
    assert code == 1
    assert len(sweeps.records()) == 2
    assert "failed   #1 lora.rank=13: rank 13 brings bad luck (runs/tiny-sample-" in told
    assert "1 of 3 runs failed. Run the same command again to retry them." in told
    assert "Traceback" not in told


def test_a_failed_cell_is_tried_again_as_often_as_asked(sweeps):
    sweeps.run("lora.rank=13", "sweep.retries=2")
    (log,) = sweeps.runs.glob("*/log.txt")
    assert log.read_text().count("rank 13 brings bad luck") == 3


def test_two_cells_that_compute_the_same_are_one(sweeps):
    code, told = sweeps.run("seed=0,1", "trainer.log_every=5,10")
    assert code == 0
    assert "2: 2 new; 2 duplicates left out" in told
    assert len(sweeps.records()) == 2


def test_a_contradiction_in_one_cell_stops_all_before_the_first(sweeps):
    code, told = sweeps.run("data.heldout_rows=0,24")
    assert code == 1
    assert "1 of 2 runs cannot start, so none was started:" in told
    assert "#0: data.heldout_rows=0 leaves no rows for the evaluations of held-out rows." in told
    assert not sweeps.runs.exists()


def test_a_misspelt_setting_in_a_sweep_is_one_line(sweeps):
    code, told = sweeps.run("lora.rnak=8,16")
    assert code == 1
    assert told == "anima_exp: There is no setting 'lora.rnak'. Did you mean 'lora.rank'?\n"


def test_a_dry_run_shows_every_cell_and_starts_none(sweeps):
    code, told = sweeps.run("seed=0,1", "dry_run=true")
    assert code == 0
    assert "seed=1" in told
    assert "Nothing was started, because dry_run=true." in told
    assert not sweeps.runs.exists()


def test_the_sweep_file_lists_the_cells_and_what_was_swept(sweeps):
    sweeps.run("seed=0,1", "lora.rank=8")
    (file,) = sweeps.sweep_files()
    assert file["swept"] == ["seed"]
    assert sorted(cell["run"] for cell in file["cells"]) == sorted(sweeps.records())


def test_two_sweeps_at_once_share_their_cells(sweeps):
    first = sweeps.start("seed=0,1,2,3", step_seconds=0.1)
    second = sweeps.start("seed=3,2,1,0", step_seconds=0.1)
    assert (first.wait(60), second.wait(60)) == (0, 0)
    assert len(sweeps.records()) == 4
    for record in sweeps.runs.glob("*/pids.txt"):
        assert len(record.read_text().split()) == 1, "a cell ran twice"


def test_ctrl_c_lets_running_cells_save_and_the_same_command_goes_on(sweeps):
    process = sweeps.start("seed=0,1", step_seconds=0.3)
    wait_for(lambda: list(sweeps.runs.glob("*/checkpoints/checkpoint-2")))
    process.terminate()
    assert process.wait(60) == 143
    assert "Run the same command again to resume." in process.told()
    assert sweeps.records() == {}
    code, _ = sweeps.run("seed=0,1")
    assert code == 0
    assert sorted(record["starts"] for record in sweeps.records().values()) == [1, 2]


def test_a_second_signal_ends_at_once(sweeps):
    process = sweeps.start("seed=0,1", step_seconds=20)
    wait_for(lambda: list(sweeps.runs.glob("*/pids.txt")))
    process.terminate()
    time.sleep(0.5)
    assert process.poll() is None, "it waits for the running cell"
    process.terminate()
    assert process.wait(10) == 143


def test_ctrl_c_in_a_terminal_reaches_the_jobs_once(sweeps):
    """A terminal signals the whole process group: a job that heard it twice would not save."""
    process = sweeps.start("seed=0,1", step_seconds=0.3)
    wait_for(lambda: list(sweeps.runs.glob("*/checkpoints/checkpoint-2")))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    assert "Stopped: 2 waiting." in process.told()


def test_a_cell_whose_job_died_before_it_began_runs_the_next_time(sweeps):
    assert sweeps.run("seed=0", STAND_IN_DIES="yes")[0] == 1
    (failure,) = sweeps.runs.glob("*/failure.txt")
    assert failure.read_text() == "the process exited with status 7\n"
    assert sweeps.run("seed=0")[0] == 0
    assert not failure.exists()


def test_a_line_cut_short_in_one_cells_metrics_harms_nobody(sweeps):
    process = sweeps.start("seed=0,1", step_seconds=0.2)
    wait_for(lambda: list(sweeps.runs.glob("*/metrics.jsonl")))
    (metrics,) = sweeps.runs.glob("*/metrics.jsonl")
    with metrics.open("a") as file:
        file.write('{"step": 3, "los\n')
    assert process.wait(60) == 0, process.told()
    assert len(sweeps.records()) == 2


def test_a_signal_to_the_whole_group_still_waits_for_checkpoints(sweeps):
    process = sweeps.start("seed=0,1", "launcher.jobs=2", step_seconds=0.5)
    wait_for(lambda: len(list(sweeps.runs.glob("*/checkpoints/checkpoint-1"))) == 2)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) == 143
    ends = [max(p.glob("checkpoints/*"), key=lambda c: c.stat().st_mtime) for p in
            sweeps.runs.glob("tiny-*")]  # fmt: skip
    now = time.time()
    assert all(now - end.stat().st_mtime < 5 for end in ends)
    assert "2 waiting" in process.told()


SAME_FOR_ALL = "has several values, but all runs of a sweep share it. Give it one value."
MISTAKES = {
    "sweep=demo,seeds": "sweep=demo,seeds names several sweeps, but a command runs one. "
    "Start one command for each.",
    "runs_dir=a,b": f"runs_dir {SAME_FOR_ALL}",
    "sweep.retries=0,1": f"sweep {SAME_FOR_ALL}",
    "run_dir=here": "run_dir=here names one run; the runs of a sweep name their own folders. "
    "Give runs_dir=FOLDER for the folder that they are made in.",
    "sweep.early_stopping=asha trainer.num_epochs=1 trainer.max_steps=null": (
        "sweep.early_stopping=asha pauses at steps: give trainer.max_steps, not trainer.num_epochs."
    ),
}


@pytest.mark.parametrize(("overrides", "line"), MISTAKES.items())
def test_a_mistake_about_the_sweep_itself_is_one_line(sweeps, overrides, line):
    code, told = sweeps.run(*overrides.split(), "dry_run=true")
    assert (code, told) == (1, f"anima_exp: {line}\n")


def test_runs_that_cannot_be_written_to_are_one_line(sweeps):
    (sweeps.folder / "file").write_text("")
    code, told = sweeps.run("seed=0,1", "runs_dir=file/runs")
    assert code == 1
    assert "Traceback" not in told
    assert "Cannot write to file/runs/sweeps/by_hand-" in told


def test_the_command_in_a_log_is_the_run(sweeps):
    own = sweeps.folder / "mine" / "sweep"
    own.mkdir(parents=True)
    (own / "two.yaml").write_text(
        "# @package _global_\n# Which seed?  2 jobs.\nlora:\n  alpha: 7\n"
        "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 0,1\n"
    )
    assert sweeps.run("sweep=two", "--config-dir=mine")[0] == 0
    for name, record in sweeps.records().items():
        assert record["settings"]["lora.alpha"] == 7
        log = (sweeps.runs / name / "log.txt").read_text()
        seed = record["settings"]["seed"]
        assert "--config-dir=mine" in log
        assert f"seed={seed}" in log
        assert "sweep=two" in log
        assert "hydra.mode=RUN" in log


def threads(sweeps):
    return {file.read_text() for file in sweeps.runs.glob("*/threads.txt")}


@pytest.mark.parametrize("warm", ["true", "false"])
def test_jobs_use_the_number_of_threads_that_the_user_chose(sweeps, warm):
    sweeps.run(
        "seed=0,1", "launcher.jobs=2", f"launcher.preload={warm}", "trainer.max_steps=1",
        OMP_NUM_THREADS="3", MKL_NUM_THREADS="",
    )  # fmt: skip
    assert threads(sweeps) == {"3"}


def test_jobs_divide_the_cores_if_the_user_chose_no_number_of_threads(sweeps):
    sweeps.run(
        "seed=0,1", "launcher.jobs=2", "trainer.max_steps=1", OMP_NUM_THREADS="", MKL_NUM_THREADS=""
    )
    assert threads(sweeps) == {str(max(1, cores() // 2))}


def test_a_sweep_leaves_its_own_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("ANIMA_EXP_WARM_FOR", raising=False)
    before = dict(os.environ)
    with environment({"OMP_NUM_THREADS": "1", "ANIMA_EXP_WARM_FOR": "cpu"}):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["ANIMA_EXP_WARM_FOR"]) == ("1", "cpu")
    assert dict(os.environ) == before


def test_the_setting_that_the_question_is_about_is_kept_for_the_comparison(sweeps):
    code, told = sweeps.run("seed=0,1", "lora.rank=8,16", "hydra.sweeper.about=lora.rank")
    assert code == 0, told
    assert [file["about"] for file in sweeps.sweep_files()] == ["lora.rank"]


def test_a_question_about_a_setting_that_is_not_varied_is_refused(sweeps):
    code, told = sweeps.run("seed=0,1", "hydra.sweeper.about=lora.rnak")
    assert code == 1
    assert told.startswith("anima_exp: hydra.sweeper.about=lora.rnak is not a setting that this")
