"""Held-out rows and models -> how far each is from the model as trained.

The divergence is D(as trained || other), the mean over label tokens of the Kullback-Leibler
divergence between the two distributions of the next token, in nats.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anima_exp.config import Precision
from anima_exp.data.micro_batch import MicroBatch, concatenate
from anima_exp.model.attention import rows_apart
from anima_exp.model.forward import decode
from anima_exp.model.generate import inference
from anima_exp.model.loss import head_of, logits_of

_AT_ONCE = 128  # distributions in memory


@dataclass(frozen=True)
class Measured:
    """One model on the rows of the proof."""

    loss: float  # nats per label token
    divergence: float = 0.0  # from the model as trained, nats per label token
    agreement: float = 1.0  # share of label tokens with the same likeliest token


class Proof:
    """Some rows, and what the model as trained says to them, in a file that has no name."""

    def __init__(self, rows: Any, *, most_rows: int, most_tokens: int, room: Path) -> None:
        """`room` is the folder of the file: a distribution takes 4 bytes a token it knows."""
        self.batches: list[MicroBatch] = []
        self.labels = 0
        for number in range(min(len(rows), most_rows)):
            one = concatenate([rows[number]], [0], [1.0])  # a row at a time: no batch plays a part
            if len(one.labels) and self.labels < most_tokens:
                self.batches.append(_first_labels(one, most_tokens - self.labels))
                self.labels += len(self.batches[-1].labels)
        self._file = tempfile.TemporaryFile(dir=room)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> "Proof":
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
        with inference(model, precision), rows_apart(base):
            for one in self.batches:
                batch = one.to(model.device)
                states = decode(model, batch)[0]
                states = states[batch.predicting.to(states.device)]
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
        predicting=batch.predicting[:count],
        labels=batch.labels[:count],
        weights=batch.weights[:count],
    )
