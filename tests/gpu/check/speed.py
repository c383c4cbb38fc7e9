"""Training steps at LLaMA's true shapes with random weights: speed, its limits, and memory."""

import gc
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from check.parts import python
from check.rows import Row, Rows, error_text
from check.stopwatch import WARM_UP, Profile, Watch

MEASURED = 4  # steps after those to warm up; the last of them is profiled
GIB = 2**30
NO_COPY = "quant.cache_dequantized=false"
SETTINGS: list[tuple[str, tuple[str, ...]]] = [
    ("alpaca", ()),
    ("512", ()),
    ("512", ("lora.dropout=0",)),
    ("512", (NO_COPY,)),
    ("512", (NO_COPY, "trainer.activation_checkpointing=full")),
    ("512", (NO_COPY, "trainer.activation_checkpointing=selective")),
    ("512", ("optimizer=paged_adamw_8bit",)),
]
# liger changes transformers' classes, and so every model that a process builds after its first.
WITHOUT_LIGER = ("512", "trainer.liger=false")


def measure(rows: Rows, work: Path) -> None:
    for number, (lengths, settings) in enumerate(SETTINGS):
        training(rows, work, "7b", lengths, settings, kernels=number < 2)
    clean()
    where = ("--out", str(rows.file.parent), "--work", str(work))
    done = subprocess.run(python(*where, "--training", "7b", *WITHOUT_LIGER))
    if done.returncode:
        case = {"shape": "7b", "settings": WITHOUT_LIGER[1]}
        rows.add("training", **case, error=f"its process ended with status {done.returncode}")


def training(
    rows: Rows,
    work: Path,
    shape: str,
    lengths: str,
    settings: Sequence[str],
    *,
    kernels: bool = False,
    cap_gib: float | None = None,
    batch: int = 16,
) -> None:
    """Measure steps of one setting: a row of speed and memory, and with `kernels` the largest."""
    case = {"shape": shape, "rows": f"{batch} x {lengths}", "settings": " ".join(settings)}
    if cap_gib:
        case["cap_gib"] = str(cap_gib)
    try:
        with capped(cap_gib):
            found, profile = _steps(work, shape, lengths, settings, batch)
    except Exception as error:
        rows.add("training", **case, error=error_text(error))
        return
    if cap_gib:
        # This GPU has room for all paged states. On one of this size some would be in CPU memory.
        for key in ("allocated_gib", "reserved_gib"):
            found[key] = min(found[key] or 0, cap_gib)
    rows.add("training", **case, **found)
    if kernels:
        for kernel in profile.largest(25):
            rows.add("kernel", **case, **kernel)


@contextmanager
def capped(gib: float | None) -> Iterator[None]:
    """Inside, torch may reserve `gib` of the GPU, and the planner believes in no more."""
    from anima_exp.results import provenance

    clean()
    if not gib or not torch.cuda.is_available():
        yield
        return
    real = provenance.free_memory
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(gib * GIB / total, 1.0))

    def free_memory(gpu: int | None = None) -> int:
        return min(real(gpu), int(gib * GIB) - torch.cuda.memory_allocated(gpu))

    try:
        with patch.object(provenance, "free_memory", free_memory):
            yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def clean() -> None:
    """Give the memory of earlier measurements back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _steps(
    work: Path, shape: str, lengths: str, settings: Sequence[str], batch: int
) -> tuple[Row, Profile]:
    from random_training import loaded_run, loop_over
    from true_shapes import flops, peak_tflops, random_base, synthetic_rows

    from anima_exp.results.provenance import peak_memory_gib, peak_reserved_gib

    steps = WARM_UP + MEASURED
    rows = synthetic_rows(lengths, batch * steps)
    begun = time.perf_counter()
    base = partial(random_base, shape)
    settings = ["trainer.log_every=1", "trainer.eval_every=null", "trainer.save_every=1000",
                *settings]  # fmt: skip
    config, loaded = loaded_run(base, rows, settings, batch=batch, cache=work / "cache")
    clean()
    lines: list[dict[str, Any]] = []
    loop = loop_over(rows, np.arange(len(rows)), config, loaded, folder=work, log=lines.append)
    built = time.perf_counter() - begun
    watch, profile = Watch(), Profile()
    _train(loop, watch, profile, lines, steps)
    # The step that is profiled is slower.
    speed = median(line["tokens_per_second"] for line in lines[WARM_UP : steps - 1])
    tokens = int(rows.lengths.sum()) / steps
    trained = loaded.parameters.trainable
    needed = (
        flops(shape, lora_parameters=trained, lengths=rows.lengths, label_counts=rows.label_counts)
        / steps
    )
    of_profiled = int(rows.lengths[-batch:].sum())
    gpu = torch.cuda.is_available()
    peak = peak_tflops(torch.cuda.get_device_name()) if gpu else None
    paged = loop.paged_bytes()  # torch does not count them
    execution = loaded.execution
    found = {
        "tokens_a_second": round(speed),
        "share_of_peak": needed / tokens * speed / (peak * 1e12) if peak else None,
        "tokens_a_step": round(tokens),
        "step_seconds": tokens / speed,
        "busy_share": profile.seconds / (of_profiled / speed) if gpu else None,
        "kernels_a_step": profile.count,
        "passes_host_seconds": watch.host(watch.passes),
        "passes_device_seconds": watch.device(watch.passes),
        "optimizer_host_seconds": watch.host(watch.optimizer),
        "optimizer_device_seconds": watch.device(watch.optimizer),
        "allocated_gib": peak_memory_gib(paged) if gpu else None,
        "reserved_gib": peak_reserved_gib(paged),
        "paged_gib": sum(paged.values()) / GIB,
        "predicted_gib": execution.predicted_peak_gib,
        "token_budget": execution.token_budget,
        "recompute": execution.recompute.value,
        "copy": execution.keep_dequantized,
        "paged": execution.paged,
        "out_of_memory": loop.meter.out_of_memory,
        "build_seconds": built,
    }
    return found, profile


def _train(loop: Any, watch: Watch, profile: Profile, lines: list[Any], steps: int) -> None:
    from anima_exp.distributed.world import SINGLE_PROCESS
    from anima_exp.system.signals import StopRequest
    from anima_exp.training import loop as module
    from anima_exp.training.step import GradientStep
    from anima_exp.training.stop import StopAfterStep

    real = module.make_optimizer

    def make_optimizer(*arguments: Any, **more: Any) -> Any:
        optimizer = real(*arguments, **more)
        watch.around_optimizer(optimizer)
        return optimizer

    def log(line: dict[str, Any]) -> None:
        lines.append(line)
        if len(lines) == steps - 1:
            profile.__enter__()

    loop.log = log
    with (
        patch.object(module, "make_optimizer", make_optimizer),
        patch.object(GradientStep, "__call__", watch.around_passes(GradientStep.__call__)),
        patch.object(loop, "_save"),
    ):
        loop.train(None, StopAfterStep(SINGLE_PROCESS, StopRequest()), until=None)
    profile.__exit__(None, None, None)
