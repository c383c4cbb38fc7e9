"""Measure how much a merged model differs from the model as trained, on held-out rows.

The divergence is D(as trained || other): the mean over label tokens of the Kullback-Leibler
divergence between the two distributions of the next token, in nats.
"""

import gc
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from anima_exp.config import MergeConfig, Precision, QuantConfig, Quantization
from anima_exp.data.dataset import prepare
from anima_exp.data.micro_batch import MicroBatch, pack_rows
from anima_exp.data.rows import TokenizedDataset
from anima_exp.errors import ConfigError, ModelError
from anima_exp.inference import saved_model
from anima_exp.inference.saved_template import with_saved_template
from anima_exp.libraries.peft_internals import base_of
from anima_exp.model.base import check_context, device, load_base
from anima_exp.model.base_config import generation_stops
from anima_exp.model.chunked_loss import head_of, logits_of
from anima_exp.model.forward import hidden_states
from anima_exp.model.generation import inference_mode
from anima_exp.model.tokenizer import load_tokenizer
from anima_exp.model.varlen_attention import packed_attention
from anima_exp.results import provenance
from anima_exp.system import paths

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_AT_ONCE = 128  # distributions in memory at the same time


@dataclass(frozen=True)
class Measured:
    """Figures of one model on the rows of the verification."""

    loss: float  # nats per label token
    divergence: float = 0.0  # from the model as trained, nats per label token
    agreement: float = 1.0  # fraction of label tokens with the same likeliest token


class Verification:
    """Held-out rows, and the distributions of the model as trained, in a temporary file."""

    def __init__(
        self, rows: TokenizedDataset, *, most_rows: int, most_tokens: int, room: Path
    ) -> None:
        """Select the rows. `room` is the folder of the temporary file.

        A distribution takes 4 bytes per token of the vocabulary.
        """
        self.batches: list[MicroBatch] = []
        self.labels = 0
        for number in range(min(len(rows), most_rows)):
            one = pack_rows([rows[number]], [0], [1.0])  # one row, so that no batch has an effect
            if len(one.labels) and self.labels < most_tokens:
                self.batches.append(_first_labels(one, most_tokens - self.labels))
                self.labels += len(self.batches[-1].labels)
        self._file = tempfile.TemporaryFile(dir=room)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> "Verification":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def remember(self, model: "PreTrainedModel | PeftModel", precision: Precision) -> Measured:
        """Store the distributions of the model as trained, and return its figures."""
        loss = 0.0
        self._file.seek(0)
        for found, labels in self._distributions(model, precision):
            self._file.write(found.cpu().numpy().tobytes())
            loss -= float(found.gather(1, labels[:, None]).double().sum())
        self._file.flush()
        return Measured(loss / self.labels)

    def measure(self, model: "PreTrainedModel | PeftModel", precision: Precision) -> Measured:
        """Compare another model with the model as trained."""
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

    def _distributions(
        self, model: "PreTrainedModel | PeftModel", precision: Precision
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield log-probabilities [n, vocabulary] and labels [n], n at most `_AT_ONCE`."""
        base = base_of(model)
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


# The measurements of one merge, with one model in memory at a time.


NOT_QUANTIZED = QuantConfig(
    type=Quantization.none, compute_dtype=Precision.fp32, cache_quantized=False
)


@dataclass(frozen=True)
class VerificationResult:
    """The figures of a verification, in the order of measurement."""

    labels: int
    base: Measured  # quantized as in the run
    trained: Measured  # that base with the adapter, with which all others are compared
    merged: Measured
    again: Measured | None  # the merged model, quantized as the run's base


def heldout_rows(config: MergeConfig) -> TokenizedDataset:
    """Return the held-out rows.

    Raises:
        AnimaError: if there are none.
    """
    cache = paths.cache(config.cache_dir)
    tokenizer, stops = load_tokenizer(config.model), generation_stops(config.model)
    data = with_saved_template(config)
    rows = prepare(data, tokenizer, cache=cache, stops=stops).heldout
    if not int(rows.label_counts[: config.verify_rows].clip(min=0).sum()):
        raise ConfigError(
            f"data={config.data.name} has no held-out rows, so the merged model cannot be "
            "verified. Give data.heldout_rows=64, or another data set with data=NAME."
        )
    return rows


def trained(config: MergeConfig, verification: Verification) -> tuple[Measured, Measured]:
    """Return the figures of the base and of the model as trained, which is stored."""
    model, _ = saved_model.load_saved_model(config)
    check_context(model, max(max(batch.lengths) for batch in verification.batches))
    found = verification.remember(model, config.trainer.precision)
    with cast("PeftModel", model).disable_adapter():
        return verification.measure(model, config.trainer.precision), found


def merged(
    config: MergeConfig, verification: Verification, folder: Path, stored: torch.dtype
) -> Measured:
    """Return the figures of the merged model in `folder`."""
    precision = computed_in(config.trainer.precision, stored)
    return verification.measure(_load(config, folder, NOT_QUANTIZED, precision), precision)


def again(config: MergeConfig, verification: Verification, folder: Path) -> Measured | None:
    """Return the figures of the merged model quantized as the run's base; None if it was not."""
    if config.quant.type is Quantization.none:
        return None
    precision = config.trainer.precision
    return verification.measure(_load(config, folder, config.quant, precision), precision)


def computed_in(precision: Precision, stored: torch.dtype) -> Precision:
    """Return the type in which the merged model is computed: its own if the device supports it."""
    if precision is Precision.fp32 or stored is torch.float32:
        return Precision.fp32
    if stored is torch.float16:
        return Precision.fp16 if device().type == "cuda" else Precision.fp32
    return Precision.bf16


def check_memory(config: MergeConfig, numbers: int, stored: torch.dtype) -> None:
    """Raise ModelError if there is too little memory to load the merged model."""
    if config.model.device_map and torch.cuda.is_available():
        return
    wide = computed_in(config.trainer.precision, stored) is Precision.fp32
    needed, free = numbers * (4 if wide else 2), provenance.free_memory()
    if needed > free:
        on_gpu = torch.cuda.is_available()
        way = "Put CUDA_VISIBLE_DEVICES= before the command to verify on the CPU, or " * on_gpu
        raise ModelError(
            f"Verification loads the merged model, which needs {needed / 2**30:.1f} GiB, but "
            f"{'the GPU' if on_gpu else 'this machine'} has {free / 2**30:.1f} GiB free. {way}"
            f"{'skip' if on_gpu else 'Skip'} the verification with verify=false."
        )


def _load(
    config: MergeConfig, folder: Path, quant: QuantConfig, precision: Precision
) -> "PreTrainedModel":
    gc.collect()  # frees the previous model
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    model = replace(config.model, source=str(folder.resolve()), revision=None, tokenizer=None)
    base = load_base(model, quant, precision=precision).eval()
    return cast("PreTrainedModel", base)
