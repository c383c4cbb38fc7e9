"""Whole runs of the tiny base: the same curve on CPU and GPU, in every type, and after a kill."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from check.rows import Row, Rows
from check.runs import TINY, Done, train

AT_ONCE = 5  # runs side by side: each needs one core and less than a GiB of the GPU
BF16 = "trainer.precision=bf16"
_BY_PASSES = (BF16, "quant.cache_dequantized=false")
# Its states are large enough to be paged.
_LARGE = (BF16, "lora.rank=512", "optimizer=paged_adamw_32bit")
_PAGED = ("--paged",)


@dataclass(frozen=True)
class Run:
    name: str
    settings: tuple[str, ...]
    compared_with: str = "GPU bf16"
    gpu: bool = True
    inside: tuple[str, ...] = ()  # options of inside.py


RUNS = [
    Run("CPU fp32", ("trainer.precision=fp32",), "", gpu=False),
    Run("GPU fp32", ("trainer.precision=fp32",), "CPU fp32"),
    Run("GPU bf16", (BF16,), "CPU fp32"),
    Run("GPU fp16", ("trainer.precision=fp16",), "CPU fp32"),
    Run("GPU bf16, a row a pass", (BF16, "trainer.max_tokens_per_micro_batch=1")),
    Run("GPU bf16, recompute full", (*_BY_PASSES, "trainer.activation_checkpointing=full")),
    Run(
        "GPU bf16, recompute selective", (*_BY_PASSES, "trainer.activation_checkpointing=selective")
    ),
    Run("GPU bf16, adamw", (BF16, "optimizer=adamw")),
    Run("GPU bf16, 8-bit optimizer", (BF16, "optimizer=paged_adamw_8bit")),
    Run("GPU bf16, int8 base", (BF16, "quant=int8")),
    Run("GPU bf16, fp4 base", (BF16, "quant=fp4"), ""),
    Run("GPU bf16, rank 512, paged", _LARGE, "", inside=_PAGED),
    Run("GPU bf16, rank 512, not paged", _LARGE, "GPU bf16, rank 512, paged"),
]


def measure(rows: Rows, work: Path) -> None:
    # One run first: it fills the cache of encoded rows that all share.
    train(work / "runs" / "first", [*TINY, "trainer.max_steps=1"])
    threads = max((os.cpu_count() or AT_ONCE) // AT_ONCE, 1)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        killed = pool.submit(_killed_and_resumed, work, threads)
        done = [pool.submit(_train, work, run, threads) for run in RUNS]
        for run, one in zip(RUNS, done, strict=True):
            case: dict[str, Any] = {"run": run.name, "compared_with": run.compared_with}
            rows.attempt("run", case, lambda one: found(one.result()), one)
        case = {"run": "killed and resumed", "compared_with": "GPU bf16, rank 512, paged"}
        rows.attempt("run", case, lambda: found(killed.result()))


def place(work: Path, name: str) -> Path:
    """Return the folder of the run called `name`."""
    return work / "runs" / name.replace(",", "").replace(" ", "_")


def _train(work: Path, run: Run, threads: int) -> Done:
    settings = [*TINY, *run.settings]
    folder = place(work, run.name)
    return train(folder, settings, gpu=run.gpu, threads=threads, inside=run.inside)


def _killed_and_resumed(work: Path, threads: int) -> Done:
    folder, settings = place(work, "killed"), [*TINY, *_LARGE]
    first = train(folder, settings, threads=threads, inside=[*_PAGED, "--kill-after-save"])
    if first.status != -9:
        raise RuntimeError(f"the run was not killed, status {first.status}: {first.said}")
    return train(folder, settings, threads=threads, inside=_PAGED)


def found(done: Done) -> Row:
    """Return what a run has measured; raise if it has failed."""
    if done.status:
        raise RuntimeError(f"status {done.status}: {done.said}")
    record = done.record
    before, after = (record[key].get("heldout_loss") for key in ("scores_before", "scores"))
    return {
        "losses": [round(loss, 5) for loss in done.losses],
        "heldout_before": before,
        "heldout_after": after,
        "peak_gib": round(record["peak_memory_gib"], 3),
        "reserved_gib": round(done.inside.get("reserved_gib", 0), 3),
        "predicted_gib": round(record["predicted_memory_gib"], 3),
        "paged_bytes": done.inside.get("paged_bytes"),
        "starts": record["starts"],
        "seconds": round(done.seconds, 1),
    }
