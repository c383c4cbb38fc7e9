"""Held-out rows and models -> how far each is from the model as trained.

The divergence is D(as trained || other), the mean over label tokens of the Kullback-Leibler
divergence between the two distributions of the next token, in nats.
"""

import gc
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor

from anima_exp.config import MergeConfig, Precision, QuantConfig, Quantization
from anima_exp.data.dataset import prepare
from anima_exp.data.micro_batch import MicroBatch, pack_rows
from anima_exp.errors import ConfigError, ModelError
from anima_exp.inference import saved_model
from anima_exp.model.base import check_context, device, load_base
from anima_exp.model.chunked_loss import head_of, logits_of
from anima_exp.model.forward import hidden_states
from anima_exp.model.generation import inference_mode
from anima_exp.model.tokenizer import load_tokenizer
from anima_exp.model.varlen_attention import packed_attention
from anima_exp.results import provenance
from anima_exp.system import paths

_AT_ONCE = 128  # distributions in memory


@dataclass(frozen=True)
class Measured:
    """One model on the rows of the proof."""

    loss: float  # nats per label token
    divergence: float = 0.0  # from the model as trained, nats per label token
    agreement: float = 1.0  # share of label tokens with the same likeliest token


class Verification:
    """Some rows, and what the model as trained says to them, in a file that has no name."""

    def __init__(self, rows: Any, *, most_rows: int, most_tokens: int, room: Path) -> None:
        """`room` is the folder of the file: a distribution takes 4 bytes a token it knows."""
        self.batches: list[MicroBatch] = []
        self.labels = 0
        for number in range(min(len(rows), most_rows)):
            one = pack_rows([rows[number]], [0], [1.0])  # a row at a time: no batch plays a part
            if len(one.labels) and self.labels < most_tokens:
                self.batches.append(_first_labels(one, most_tokens - self.labels))
                self.labels += len(self.batches[-1].labels)
        self._file = tempfile.TemporaryFile(dir=room)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> "Verification":
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def remember(self, model: Any, precision: Precision) -> Measured:
        """Let `model` be the one as trained."""
        loss = 0.0
        self._file.seek(0)
        for found, labels in self._distributions(model, precision):
            self._file.write(found.cpu().numpy().tobytes())
            loss -= float(found.gather(1, labels[:, None]).double().sum())
        self._file.flush()
        return Measured(loss / self.labels)

    def measure(self, model: Any, precision: Precision) -> Measured:
        """Compare another model with the one remembered."""
        loss = divergence = agreeing = 0.0
        self._file.seek(0)
        for found, labels in self._distributions(model, precision):
            data = bytearray(self._file.read(found.numel() * 4))
            trained = torch.frombuffer(data, dtype=torch.float32).view(found.shape)
            trained = trained.to(found.device)
            loss -= float(found.gather(1, labels[:, None]).double().sum())
            divergence += float((trained.exp() * (trained - found)).double().sum())
            agreeing += float((trained.argmax(1) == found.argmax(1)).sum())
        return Measured(loss / self.labels, divergence / self.labels, agreeing / self.labels)

    def _distributions(self, model: Any, precision: Precision) -> Iterator[tuple[Tensor, Tensor]]:
        """[n, V] logarithms of probabilities and [n] labels, n at most `_AT_ONCE`."""
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        with inference_mode(model, precision), packed_attention(base):
            for one in self.batches:
                batch = one.to(model.device)
                states = hidden_states(model, batch)[0]
                states = states[batch.label_positions.to(states.device)]
                for start in range(0, len(states), _AT_ONCE):
                    part = slice(start, start + _AT_ONCE)
                    logits = logits_of(states[part], head_of(base))
                    found = torch.log_softmax(logits, dim=-1)
                    yield found, batch.labels[part].to(found.device)


def _first_labels(batch: MicroBatch, count: int) -> MicroBatch:
    if len(batch.labels) <= count:
        return batch
    return replace(
        batch,
        label_positions=batch.label_positions[:count],
        labels=batch.labels[:count],
        weights=batch.weights[:count],
    )


# A run and what was merged from it -> the proof's figures: one model in memory at a time.


NOT_QUANTIZED = QuantConfig(
    type=Quantization.none, compute_dtype=Precision.fp32, cache_quantized=False
)


@dataclass(frozen=True)
class VerificationResult:
    """What the proof found, in the order in which it was measured."""

    labels: int
    base: Measured  # stored as the run stored it
    trained: Measured  # that base with the adapter: what all others are compared with
    merged: Measured
    again: Measured | None  # the merged model stored as the run stored its base


def heldout_rows(config: MergeConfig) -> Any:
    """Raises AnimaError: there are no rows to prove anything on."""
    cache = paths.cache(config.cache_dir)
    rows = prepare(config.data, load_tokenizer(config.model), cache=cache).heldout
    if not int(rows.label_counts[: config.verify_rows].clip(min=0).sum()):
        raise ConfigError(
            f"data={config.data.name} has no held-out rows to prove the merged model on. Give "
            "data.heldout_rows=64, or other text with data=NAME."
        )
    return rows


def trained(config: MergeConfig, proof: Verification) -> tuple[Measured, Measured]:
    """The base, and the model as trained, which `proof` remembers."""
    model, _ = saved_model.load_saved_model(config)
    check_context(model, max(max(batch.lengths) for batch in proof.batches))
    found = proof.remember(model, config.trainer.precision)
    with cast(PeftModel, model).disable_adapter():
        return proof.measure(model, config.trainer.precision), found


def merged(config: MergeConfig, proof: Verification, folder: Path, stored: torch.dtype) -> Measured:
    """The merged model in `folder`, as it is."""
    precision = computed_in(config.trainer.precision, stored)
    return proof.measure(_load(config, folder, NOT_QUANTIZED, precision), precision)


def again(config: MergeConfig, proof: Verification, folder: Path) -> Measured | None:
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
            "verify=false leaves the proof out."
        )


def _load(config: MergeConfig, folder: Path, quant: QuantConfig, precision: Precision) -> Any:
    gc.collect()  # of the model before this one
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    model = replace(config.model, source=str(folder.resolve()), revision=None, tokenizer=None)
    return load_base(model, quant, precision=precision).eval()
