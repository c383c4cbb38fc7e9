"""A run and what was merged from it -> the proof's figures: one model in memory at a time."""

import gc
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from anima_exp import finished, paths
from anima_exp.config import MergeConfig, Precision, QuantConfig, Quantization
from anima_exp.data.prepare import prepare
from anima_exp.errors import ConfigError, ModelError
from anima_exp.merge.proof import Measured, Proof
from anima_exp.model.base import check_context, device, load_base
from anima_exp.model.tokenizer import load_tokenizer
from anima_exp.results import provenance

NOT_QUANTIZED = QuantConfig(type=Quantization.none, compute_dtype=Precision.fp32, snapshot=False)


@dataclass(frozen=True)
class Proved:
    """What the proof found, in the order in which it was measured."""

    labels: int
    base: Measured  # stored as the run stored it
    trained: Measured  # that base with the adapter: what all others are compared with
    merged: Measured
    again: Measured | None  # the merged model stored as the run stored its base


def heldout_rows(config: MergeConfig) -> Any:
    """Raises AnimaError: there are no rows to prove anything on."""
    cache = paths.cache(config.cache)
    rows = prepare(config.data, load_tokenizer(config.model), cache=cache).heldout
    if not int(rows.label_counts[: config.proof_rows].clip(min=0).sum()):
        raise ConfigError(
            f"data={config.data.name} has no held-out rows to prove the merged model on. Give "
            "data.heldout_rows=64, or other text with data=NAME."
        )
    return rows


def trained(config: MergeConfig, proof: Proof) -> tuple[Measured, Measured]:
    """The base, and the model as trained, which `proof` remembers."""
    model, _ = finished.load(config)
    check_context(model, max(max(batch.lengths) for batch in proof.batches))
    found = proof.remember(model, config.trainer.precision)
    with model.disable_adapter():
        return proof.measure(model, config.trainer.precision), found


def merged(config: MergeConfig, proof: Proof, folder: Path, stored: torch.dtype) -> Measured:
    """The merged model in `folder`, as it is."""
    precision = computed_in(config.trainer.precision, stored)
    return proof.measure(_load(config, folder, NOT_QUANTIZED, precision), precision)


def again(config: MergeConfig, proof: Proof, folder: Path) -> Measured | None:
    """The merged model quantised as the run's base was; None if that was not."""
    if config.quant.type is Quantization.none:
        return None
    precision = config.trainer.precision
    return proof.measure(_load(config, folder, config.quant, precision), precision)


def computed_in(precision: Precision, stored: torch.dtype) -> Precision:
    """The type for products of the merged model: its own, where the device has it."""
    if precision is Precision.fp32 or stored is torch.float32:
        return Precision.fp32
    if stored is torch.float16:
        return Precision.fp16 if device().type == "cuda" else Precision.fp32
    return Precision.bf16


def check_memory(config: MergeConfig, numbers: int, stored: torch.dtype) -> None:
    """Raise ModelError if the merged model cannot be loaded here to be measured."""
    if config.model.device_map and torch.cuda.is_available():
        return
    wide = computed_in(config.trainer.precision, stored) is Precision.fp32
    needed, free = numbers * (4 if wide else 2), provenance.free_memory()
    if needed > free:
        on_gpu = torch.cuda.is_available()
        way = "CUDA_VISIBLE_DEVICES= before the command proves it on the CPU, " if on_gpu else ""
        raise ModelError(
            f"To be proved the merged model is loaded, which takes {needed / 2**30:.1f} GiB, and "
            f"{'the GPU' if on_gpu else 'this machine'} has {free / 2**30:.1f} free: {way}"
            "prove=false leaves the proof out."
        )


def _load(config: MergeConfig, folder: Path, quant: QuantConfig, precision: Precision) -> Any:
    gc.collect()  # of the model before this one
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    model = replace(config.model, source=str(folder.resolve()), revision=None, tokenizer=None)
    return load_base(model, quant, precision=precision).eval()
