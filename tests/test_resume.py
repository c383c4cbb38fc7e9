"""A run that is interrupted goes on where it stopped, and ends as if nothing had happened."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anima_exp.errors import RunPaused
from anima_exp.experiment.run import run
from anima_exp.results.journal import MetricsLog
from anima_exp.results.record import Record
from anima_exp.system.json_lines import JsonLinesLog

# Checkpoints fall between log lines, and an evaluation between both.
SETTINGS = (
    "data.max_rows=64", "data.heldout_rows=8", "trainer.max_steps=24", "trainer.batch_size=8",
    "trainer.log_every=3", "trainer.eval_every=5",
    "trainer.save_every=4", "tracking=none", "evals=[heldout]",
)  # fmt: skip


def curve(folder):
    """Every figure but those of time and memory."""
    timed = {"tokens_per_second", "eval_seconds", "memory_gib"}
    rows = JsonLinesLog(folder / "metrics.jsonl").rows()
    return [{key: value for key, value in row.items() if key not in timed} for row in rows]


@pytest.fixture(scope="module")
def undisturbed(compose, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    run(compose(*SETTINGS, f"run_dir={folder}"))
    assert len(curve(folder)) == 8 + 6
    return folder


def start(folder, *overrides):
    command = [sys.executable, "-m", "anima_exp.train", *SETTINGS, f"run_dir={folder}", *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path, process):
    patience = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience
        time.sleep(0.002)


def adapter(folder):
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("checkpoint", [4, 12])
def test_a_killed_run_ends_like_an_undisturbed_one_to_the_last_bit(
    compose, undisturbed, tmp_path, checkpoint
):
    folder = tmp_path / "run"
    process = start(folder)
    wait_for(folder / "checkpoints" / f"checkpoint-{checkpoint}", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "record.json").exists()
    run(compose(*SETTINGS, f"run_dir={folder}"))
    assert curve(folder) == curve(undisturbed)
    assert adapter(folder) == adapter(undisturbed)
    assert Record.load(folder).starts == 2
    assert Record.load(folder).tokens == Record.load(undisturbed).tokens


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stop_on_request_saves_a_checkpoint_and_says_how_to_go_on(
    compose, undisturbed, tmp_path, number, status
):
    folder = tmp_path / "run"
    process = start(folder, "trainer.save_every=1000")
    wait_for(folder / "metrics.jsonl", process)
    while len(curve(folder)) < 3 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == status
    assert f"Stopped by {number.name} at step" in errors
    assert "Run the same command again to resume" in errors
    assert "Traceback" not in errors
    assert not (folder / "failure.txt").exists()
    saved = list((folder / "checkpoints").iterdir())
    assert len(saved) == 1
    run(compose(*SETTINGS, f"run_dir={folder}"))
    assert curve(folder) == curve(undisturbed)
    assert adapter(folder) == adapter(undisturbed)


def test_a_stop_in_a_sweep_stops_the_sweep(tmp_path):
    command = [
        sys.executable,
        "-m",
        "anima_exp.train",
        "-m",
        *SETTINGS,
        f"runs_dir={tmp_path}/runs",
    ]
    process = subprocess.Popen(
        [*command, "seed=0,1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (begun := list((tmp_path / "runs").glob("*/metrics.jsonl"))):
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    while len(curve(begun[0].parent)) < 3:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate()
    assert process.returncode == 143
    assert "Stopped: 2 waiting. Run the same command again to resume." in errors
    assert "#0 seed=0: started on cpu" in output
    assert "Stopped by SIGTERM at step" in (begun[0].parent / "log.txt").read_text()
    assert len(list((tmp_path / "runs").glob("*/settings.json"))) == 1


@pytest.mark.parametrize("killed", [False, True], ids=["paused", "killed before it measured"])
def test_a_pause_measures_its_step_and_changes_nothing(compose, undisturbed, tmp_path, killed):
    config = compose(*SETTINGS, f"run_dir={tmp_path}/run")
    with pytest.raises(RunPaused, match="step 8 of 24"):
        run(config, until=8)
    paused = curve(tmp_path / "run")
    assert [row["step"] for row in paused if "heldout_loss" in row] == [0, 5, 8]
    if killed:
        JsonLinesLog(tmp_path / "run" / "metrics.jsonl").keep(
            lambda row: row["step"] < 8 or "heldout_loss" not in row
        )
        with pytest.raises(RunPaused, match="step 8 of 24"):
            run(config, until=8)
        assert curve(tmp_path / "run") == paused
    run(config)
    rows = [row for row in curve(tmp_path / "run") if row["step"] != 8 or "loss" in row]
    assert rows == curve(undisturbed)
    assert adapter(tmp_path / "run") == adapter(undisturbed)


def test_a_run_killed_after_its_last_step_only_evaluates_and_records(
    compose, undisturbed, tmp_path
):
    import shutil

    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    (folder / "record.json").unlink()
    shutil.rmtree(folder / "adapter")
    run(compose(*SETTINGS, f"run_dir={folder}"))
    assert curve(folder) == curve(undisturbed)
    assert adapter(folder) == adapter(undisturbed)
    assert Record.load(folder).scores == Record.load(undisturbed).scores


@pytest.mark.parametrize(
    "overrides",
    [
        ("lora.dtype=bf16", "trainer.precision=bf16"),
        ("lora=full_finetune", "quant=none", "optimizer.learning_rate=1e-4"),
        ("quant=int8", "optimizer=paged_adamw_8bit"),
        ("optimizer=adamw", "optimizer.schedule=cosine", "optimizer.warmup_ratio=0.3"),
        (
            "trainer.max_steps=null",
            "trainer.num_epochs=2.47",
            "trainer.activation_checkpointing=full",
        ),
    ],
    ids=" ".join,
)
def test_every_way_of_training_resumes_to_the_last_bit(compose, tmp_path, monkeypatch, overrides):
    def settings(folder):
        short = [s for s in SETTINGS if not s.startswith("trainer.max_steps")]
        steps = [] if "trainer.max_steps=null" in overrides else ["trainer.max_steps=8"]
        return compose(*short, *steps, *overrides, f"run_dir={folder}")

    run(settings(tmp_path / "whole"))
    with monkeypatch.context() as patch:

        def crash(self, row):
            self._metrics.append(row)
            if row["step"] >= 6:
                raise OSError("power cut")

        patch.setattr(MetricsLog, "trained", crash)
        with pytest.raises(OSError, match="power cut"):
            run(settings(tmp_path / "broken"))
    assert (tmp_path / "broken" / "failure.txt").read_text() == "OSError: power cut\n"
    run(settings(tmp_path / "broken"))
    assert curve(tmp_path / "broken") == curve(tmp_path / "whole")
    assert not (tmp_path / "broken" / "failure.txt").exists()


def test_half_a_checkpoint_is_never_resumed(compose, undisturbed, tmp_path):
    folder = tmp_path / "run"
    draft = folder / "checkpoints" / ".draft" / "checkpoint-8"
    draft.mkdir(parents=True)
    (draft / "adapter_model.safetensors").write_bytes(b"half")
    (folder / "settings.json").write_text((undisturbed / "settings.json").read_text())
    run(compose(*SETTINGS, f"run_dir={folder}"))
    assert curve(folder) == curve(undisturbed)


def test_a_second_process_is_told_that_the_run_is_taken(tmp_path):
    folder = tmp_path / "run"
    first = start(folder)
    wait_for(folder / "metrics.jsonl", first)
    second = start(folder)
    _, errors = second.communicate()
    first.kill()
    first.communicate()
    assert second.returncode == 1
    assert f"{folder} is in use by another process (process {first.pid} on" in errors
    assert errors.count("\n") == 1


def test_a_file_in_the_place_of_the_run_folder(compose, tmp_path):
    Path(tmp_path / "file").write_text("mine")
    from anima_exp.errors import RunError

    with pytest.raises(RunError, match=r"is a file\. Choose a folder"):
        run(compose(*SETTINGS, f"run_dir={tmp_path}/file"))
