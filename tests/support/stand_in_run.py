"""A run without a model: what a sweep sees of one, in milliseconds.

It keeps the rules of experiment.run: a locked folder, a checkpoint every step, a record at the end.
The loss falls with the step, the faster the higher the learning rate.
"""

import os
import signal
import time
from pathlib import Path

from anima_exp.errors import RunInterrupted, RunPaused, TrainingError
from anima_exp.results import identity
from anima_exp.results.folder import RunFolder
from anima_exp.results.record import Record
from anima_exp.system.json_lines import JsonLinesLog

STEP_SECONDS = float(os.environ.get("STAND_IN_STEP_SECONDS", "0.01"))


def value(config, step):
    return 4.0 / (1 + 1e3 * config.optimizer.learning_rate * step) + config.seed * 1e-3


def run(config, until=None):
    if os.environ.get("STAND_IN_DIES"):  # before it has a folder
        os._exit(7)
    if times := int(os.environ.get("STAND_IN_LOSES_SERVER", "0")):
        _end_server(times)
    with RunFolder(config) as folder:
        if folder.done:
            return
        starts = folder.record_launch()
        (folder.path / "pids.txt").open("a").write(f"{os.getpid()}\n")
        (folder.path / "threads.txt").write_text(os.environ.get("OMP_NUM_THREADS", ""))
        stop, begun_at = [], time.time()
        signal.signal(signal.SIGTERM, lambda number, _: stop.append(number))
        begun = _newest(folder.checkpoints)
        metrics = JsonLinesLog(folder.path / "metrics.jsonl")
        metrics.keep(lambda row: row["step"] <= begun)
        if config.lora.rank == 13:
            folder.mark_failed("rank 13 brings bad luck")
            raise TrainingError("rank 13 brings bad luck")
        steps = config.trainer.max_steps
        for step in range(begun + 1, steps + 1):
            time.sleep(STEP_SECONDS)
            metrics.append({"step": step, "loss": value(config, step), "tokens": 10 * step})
            (folder.checkpoints / f"checkpoint-{step}").mkdir(parents=True)
            if stop and step < steps:
                raise RunInterrupted("stopped", exit_status=143)
            if until is not None and until <= step < steps:
                _measure(metrics, config, step)
                raise RunPaused(f"at {step}")
        _measure(metrics, config, steps)
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
        if gpu:
            (folder.path / "gpu.txt").write_text(f"{gpu} {begun_at} {time.time()}")
        record(config, folder.path, starts=starts).save(folder.path)


def _end_server(times):
    """Kill the process that this one was forked from, and this one: at so many starts of jobs."""
    with Path("servers-ended.txt").open("a+") as file:
        file.seek(0)
        if len(file.read()) < times:
            file.write("x")
            file.flush()
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)


def _measure(metrics, config, step):
    metrics.append({"step": step, "heldout_loss": value(config, step), "eval_seconds": 0.0})


def _newest(checkpoints: Path) -> int:
    found = [int(path.name.split("-")[1]) for path in checkpoints.glob("checkpoint-*")]
    return max(found, default=0)


def record(config, folder, *, starts):
    steps = config.trainer.max_steps
    return Record(
        name=identity.run_name(config), settings=identity.flatten(config),
        scores={"heldout_loss": value(config, steps)}, scores_before={}, steps=steps,
        tokens=10 * steps, rows={}, parameters={}, train_seconds=0.0, eval_seconds=0.0,
        peak_memory_gib=0.0, starts=starts, finished=f"{time.time_ns()}", data_fingerprint="",
        base_fingerprint="",
    )  # fmt: skip


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
