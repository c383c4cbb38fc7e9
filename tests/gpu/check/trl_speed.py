"""TRL's SFTTrainer on the same rows and the same random base, at its best settings."""

from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch

from check.rows import Row, Rows
from check.speed import GIB, clean
from check.stopwatch import WARM_UP

BATCH, STEPS = 16, 6
# What it can do with rows of different lengths: benchmarks/contenders/trl_contender.py.
SETTINGS: dict[str, dict[str, Any]] = {
    "padding-free": {"padding_free": True},
    "packed": {"packs": 2048, "micro": 1},
    "packed, checkpointing": {"packs": 2048, "micro": 1, "gradient_checkpointing": True},
    "padded": {},
    # Last: liger changes transformers' classes for the whole process.
    "packed, liger": {"packs": 2048, "micro": 1, "use_liger_kernel": True},
}


def measure(rows: Rows, work: Path) -> None:
    if find_spec("trl") is None:
        rows.add("trl", note="TRL is not installed, so nothing was compared with it.")
        return
    for name, settings in SETTINGS.items():
        for lengths in ("512", "alpaca"):
            # A mistake of TRL's, or of a setting that it does not know, is none of ours.
            case: Row = {"shape": "7b", "rows": f"{BATCH} x {lengths}", "setting": name}
            case["may_fail"] = True
            rows.attempt("trl", case, trained, "7b", lengths, settings)


def trained(shape: str, lengths: str, settings: dict[str, Any], precision: str = "bf16") -> Row:
    """Train a few steps; return speed and memory."""
    import trl_contender
    from material import composed
    from true_shapes import flops, peak_tflops, random_base, synthetic_rows

    from anima_exp.config import Precision
    from anima_exp.model.base import DTYPES, device
    from anima_exp.model.tokenizer import load_tokenizer

    clean()
    rows = synthetic_rows(lengths, BATCH * STEPS)
    model = random_base(shape, device=device(), dtype=DTYPES[Precision(precision)])
    found = trl_contender.train(
        model,
        [rows[index] for index in range(len(rows))],
        load_tokenizer(composed([]).model),  # of the embedded tiny base: any will do
        precision,
        batch=BATCH,
        **settings,
    )
    pairs = list(zip(found["tokens"], found["seconds"], strict=True))[WARM_UP:]
    speed = median(tokens / seconds for tokens, seconds in pairs)
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    needed = flops(
        shape, lora_parameters=trained, lengths=rows.lengths, label_counts=rows.label_counts
    )
    gpu = torch.cuda.is_available()
    peak = peak_tflops(torch.cuda.get_device_name()) if gpu else None
    return {
        "tokens_a_second": round(speed),
        "share_of_peak": needed / rows.lengths.sum() * speed / (peak * 1e12) if peak else None,
        "allocated_gib": torch.cuda.max_memory_allocated() / GIB if gpu else None,
        "reserved_gib": torch.cuda.max_memory_reserved() / GIB if gpu else None,
        "loss": found["losses"][-1],
    }
