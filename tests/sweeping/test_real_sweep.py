"""A sweep of the tiny base: warm processes, W&B offline, kill -9 in the middle."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support import wandb_file

GRID = [
    "-m", "optimizer.learning_rate=1e-3,4e-3", "trainer.max_steps=6", "trainer.save_every=1",
    "trainer.log_every=1", "data.max_rows=200", "data.heldout_rows=16", "evals=[heldout]",
]  # fmt: skip


def sweep(folder, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "anima_exp.train", *GRID, *more],
        cwd=folder, env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def records(folder):
    return {p.parent.name: json.loads(p.read_text()) for p in folder.glob("runs/*/record.json")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert sweep(folder).wait(300) == 0
    return folder


def test_a_sweep_killed_within_its_second_cell_ends_with_the_same_numbers(undisturbed, tmp_path):
    process = sweep(tmp_path, "tracking=none")
    end = time.monotonic() + 120
    while not (records(tmp_path) and len(list(tmp_path.glob("runs/*/checkpoints/*-3"))) == 1):
        assert process.poll() is None, "it came to its end before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    finished = {name: record["finished"] for name, record in records(tmp_path).items()}
    assert len(finished) == 1
    assert sweep(tmp_path, "tracking=none").wait(300) == 0
    expected, found = records(undisturbed), records(tmp_path)
    assert {n: r["scores"] for n, r in found.items()} == {
        n: r["scores"] for n, r in expected.items()
    }
    assert {n: found[n]["finished"] for n in finished} == finished, "a done cell ran again"


def test_an_offline_run_of_w_and_b_holds_config_metrics_group_and_tags(undisturbed):
    for name, record in records(undisturbed).items():
        (file,) = (undisturbed / "runs" / name).glob("wandb/offline-run-*/run-*.wandb")
        run = wandb_file.read(file)
        assert run["name"] == name
        assert run["group"] == "optimizer.learning_rate"
        assert {"nf4", "sample", "tiny"} <= set(run["tags"])
        rate = record["settings"]["optimizer.learning_rate"]
        assert run["config"]["optimizer.learning_rate"] == rate
        assert run["summary"]["heldout_loss"] == record["scores"]["heldout_loss"]
        losses = [row["loss"] for row in run["history"] if "loss" in row]
        own = (undisturbed / "runs" / name / "metrics.jsonl").read_text().splitlines()
        assert losses == [row["loss"] for row in map(json.loads, own) if "loss" in row]
