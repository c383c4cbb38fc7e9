"""A sweep on a cluster: Hydra's launchers for Slurm and Ray follow the rules of the run folders.

Slurm is played by submitit's local executor: the same pickles, processes and signals.
"""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from omegaconf import OmegaConf

from anima_exp.cli.compose import run_command
from anima_exp.sweeping import grid_sweep, launchers
from anima_exp.system.paths import shipped

HERE = "hydra/launcher=submitit_local"

PLUG_INS = {
    "slurm": "hydra_plugins.hydra_submitit_launcher",
    "ray": "hydra_plugins.hydra_ray_launcher",
}

# Which plug-ins there are is found by looking through this path.
WITHOUT_PLUG_INS = """
import runpy, sys, hydra_plugins
hydra_plugins.__path__ = [p for p in hydra_plugins.__path__ if "site-packages" not in p]
sys.argv = ["train", *sys.argv[1:]]
runpy.run_module("anima_exp.train", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("launcher", "message"),
    [
        (
            "slurm",
            "hydra/launcher=slurm needs a plug-in that is not installed: "
            "pip install 'anima-exp[slurm]'",
        ),
        (
            "ray",
            "hydra/launcher=ray needs a plug-in that is not installed: "
            "pip install 'anima-exp[ray]'",
        ),
    ],
)
def test_a_missing_plug_in_is_one_line_that_says_how_to_get_it(tmp_path, launcher, message):
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT_PLUG_INS, "-m", f"hydra/launcher={launcher}", "seed=1,2"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert (told.returncode, told.stderr) == (1, f"anima_exp: {message}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("launcher", ["slurm", "ray"])
def test_a_cell_gets_one_gpu_and_can_go_on_in_another_job(tmp_path, launcher):
    if not importlib.util.find_spec(PLUG_INS[launcher]):
        pytest.skip(f"pip install 'anima-exp[{launcher}]'")
    shown = subprocess.run(
        [sys.executable, "-m", "anima_exp.train", f"hydra/launcher={launcher}", "--cfg", "hydra"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    wanted = {
        "slurm": [
            "SlurmLauncher",
            "gpus_per_node: ${launcher.gpus_per_job}",
            "max_num_timeout: 50",
            "signal_delay_s: 300",
        ],
        "ray": ["RayLauncher", "num_gpus: ${launcher.gpus_per_job}", "max_retries: 3"],
    }
    assert [text for text in wanted[launcher] if text not in shown] == []


@pytest.mark.parametrize(
    ("given", "gpus"),
    [
        ([], 1),
        (["launcher.gpus_per_job=2"], 2),
        (["launcher.gpus_per_job=2", "hydra.launcher.gpus_per_node=4"], 4),
    ],
)
def test_slurm_is_asked_for_as_many_gpus_as_a_cell_has(monkeypatch, given, gpus):
    if not importlib.util.find_spec(PLUG_INS["slurm"]):
        pytest.skip("pip install 'anima-exp[slurm]'")
    found = {}

    def launcher(master, context, task):
        found.update(launchers.launcher_of(master, context, task).params)
        raise SystemExit(0)

    monkeypatch.setattr(grid_sweep, "launcher_of", launcher)
    monkeypatch.setattr(sys, "argv", ["train", "-m", "hydra/launcher=slurm", "seed=1", *given])
    with pytest.raises(SystemExit):
        run_command(lambda config: None)
    assert found["gpus_per_node"] == gpus


def test_ray_is_asked_for_as_many_gpus_as_a_cell_has():
    written = (shipped("conf") / "hydra/launcher/ray.yaml").read_text()
    node = OmegaConf.create(
        {"launcher": {"gpus_per_job": 2}, "hydra": {"launcher": OmegaConf.create(written)}}
    )
    assert node.hydra.launcher.ray.remote.num_gpus == 2


def test_a_failing_cell_shows_its_reason_and_a_done_one_is_not_handed_over_again(sweeps):
    status, told = sweeps.run(HERE, "lora.rank=8,13")
    assert status == 1
    assert "hydra/launcher=submitit_local: 2 runs; their output: runs/.sweeps/" in told
    assert "1 of 2 runs done, 1 failed\n" in told
    assert "failed   #1 lora.rank=13: rank 13 brings bad luck\n" in told
    assert "anima_exp: 1 of 2 runs failed. Run the same command again to retry them." in told
    status, told = sweeps.run(HERE, "lora.rank=8,13")
    assert "hydra/launcher=submitit_local: 1 run;" in told
    assert (status, [record["starts"] for record in sweeps.records().values()]) == (1, [1])


def test_a_sweep_that_is_done_submits_nothing(sweeps):
    sweeps.run("lora.rank=8,16")
    status, told = sweeps.run(HERE, "lora.rank=8,16")
    assert (status, ": 2 runs" in told) == (0, False)
    assert not (sweeps.runs / ".sweeps").exists()


@pytest.mark.slow  # half a minute
def test_a_job_whose_process_is_killed_counts_as_failed_and_goes_on_next_time(sweeps):
    sweep = sweeps.start(HERE, "lora.rank=8,16", step_seconds=0.3)
    folder = begun(sweeps, sweep, cells=2)[0]
    os.kill(int((folder / "pids.txt").read_text()), signal.SIGKILL)
    assert sweep.wait(120) == 1
    killed = r"failed   #\d lora\.rank=\d+: its job ended before the run did \(\w+\)\n"
    assert re.search(killed, sweep.told())
    assert "1 of 2 runs done, 1 failed" in sweep.told()
    status, _ = sweeps.run(HERE, "lora.rank=8,16")
    assert status == 0
    assert sweeps.records()[folder.name]["starts"] == 2


def test_a_cell_that_another_process_has_is_not_run_twice(sweeps):
    other = sweeps.start("lora.rank=8", step_seconds=6)
    folder = begun(sweeps, other, cells=1)[0]
    status, told = sweeps.run(HERE, "lora.rank=8,16")
    assert (folder / "pids.txt").read_text().count("\n") == 1
    assert (status, "failed" in told) == (0, False)
    assert "1 of 2 runs done\n" in told
    assert [record["settings"]["lora.rank"] for record in sweeps.records().values()] == [16]
    other.kill()
    other.wait(20)


def test_a_config_folder_of_ones_own_reaches_the_jobs(sweeps):
    own = sweeps.folder / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\nlora:\n  rank: 24\n")
    status, told = sweeps.run(HERE, "experiment=mine", "seed=1,2", "--config-dir", "own")
    assert status == 0, told
    assert {record["settings"]["lora.rank"] for record in sweeps.records().values()} == {24}


def test_failed_cells_are_handed_over_again_as_often_as_asked(sweeps):
    status, told = sweeps.run(HERE, "lora.rank=13", "seed=1,2", "sweep.retries=1")
    assert status == 1
    assert told.count("submitit_local: 2 runs") == 2


def test_a_search_hands_over_batches_and_reads_their_records(sweeps):
    search = (
        HERE, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", "hydra.sweeper.batch_size=2",
        "optimizer.learning_rate=interval(1e-4, 1e-2)", "lora.rank=8,13",
    )  # fmt: skip
    status, told = sweeps.run(*search, "hydra.sweeper.seed=4")
    [file] = sweeps.sweep_files()
    failed = sum("lora.rank=13" in cell["overrides"] for cell in file["cells"])
    assert told.count("hydra/launcher=submitit_local: ") == 2
    assert f"{4 - failed} of 4 trials done" in told
    assert status == (1 if failed else 0)


def test_early_stopping_stays_with_this_machine(sweeps):
    status, told = sweeps.run(HERE, "seed=1,2", "sweep.early_stopping=asha")
    message = (
        "anima_exp: sweep.early_stopping=asha can only stop runs on this machine. "
        "Use hydra/launcher=pool, or sweep.early_stopping=none.\n"
    )
    assert (status, told.endswith(message)) == (1, True)


@pytest.mark.slow  # half a minute
def test_slurms_warning_before_the_time_limit_saves_a_checkpoint_and_the_job_goes_on(tmp_path):
    # A real run: stop_on_signals takes the signal, and then submitit has the job queued again.
    sweep = subprocess.Popen(
        [
            sys.executable, "-m", "anima_exp.train", "-m", HERE, "seed=1", "lora.rank=2",
            "trainer.max_steps=6", "trainer.log_every=1", "evals=[]", "tracking=none",
            "trainer.eval_at_start=false", "trainer.batch_size=2",
        ],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    runs = tmp_path / "runs"
    while not (trained := [p for p in runs.glob("*/metrics.jsonl") if '"loss"' in p.read_text()]):
        assert sweep.poll() is None
        time.sleep(0.05)
    folder = trained[0].parent
    os.kill(int((folder / ".owner").read_text().split()[1]), signal.SIGUSR2)
    told, _ = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, told
    assert len((folder / "starts.txt").read_text().splitlines()) == 2
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 7))
    printed = "".join(path.read_text() for path in runs.glob(".sweeps/*/.submitit/*/*_log.out"))
    printed += "".join(path.read_text() for path in runs.glob(".sweeps/*/.submitit/*/*_log.err"))
    assert "SIGUSR2: saving a checkpoint after this step" in printed
    assert "Requeued job" in printed


@pytest.fixture
def ray(sweeps):
    """The launcher's settings for a machine without a GPU, and the environment that it needs."""
    if not importlib.util.find_spec(PLUG_INS["ray"]):
        pytest.skip("Ray is not installed: make test-ray")
    env = {"RAY_AUTH_MODE": "disabled", "TMPDIR": "/tmp"}  # its sockets' paths must be short
    return ("hydra/launcher=ray", "hydra.launcher.ray.remote.num_gpus=0"), env


@pytest.mark.slow
def test_ray_runs_every_cell_once_and_tells_what_failed(sweeps, ray):
    settings, env = ray
    status, told = sweeps.run(*settings, "lora.rank=8,13", **env)
    assert (status, "1 of 2 runs done, 1 failed\n" in told) == (1, True), told
    assert "failed   #1 lora.rank=13: rank 13 brings bad luck\n" in told
    status, told = sweeps.run(*settings, "lora.rank=8,13", **env)
    assert "hydra/launcher=ray: 1 cell\n" in told
    assert [record["starts"] for record in sweeps.records().values()] == [1]


@pytest.mark.slow
@pytest.mark.parametrize(("retries", "status", "starts"), [(3, 0, [1, 2]), (0, 1, [1])])
def test_ray_goes_on_with_a_killed_cell_as_often_as_it_may(sweeps, ray, retries, status, starts):
    settings, env = ray
    again = f"hydra.launcher.ray.remote.max_retries={retries}"
    sweep = sweeps.start(*settings, again, "lora.rank=8,16", step_seconds=0.5, **env)
    folder = begun(sweeps, sweep, cells=2)[0]
    os.kill(int((folder / "pids.txt").read_text()), signal.SIGKILL)
    assert sweep.wait(200) == status, sweep.told()
    assert sorted(record["starts"] for record in sweeps.records().values()) == starts
    if status:
        assert "its job ended before the run did (The worker died unexpectedly" in sweep.told()


def begun(sweeps, sweep, *, cells):
    """The folders of the cells that train, once there are so many."""
    while sweep.poll() is None:
        found = sorted(path.parent for path in sweeps.runs.glob("*/metrics.jsonl"))
        if len(found) >= cells:
            return found
        time.sleep(0.05)
    raise AssertionError(sweep.told())
