"""What happened since the last log line: loss, tokens, seconds.

It is saved with each checkpoint, so that the loss curve of an interrupted run equals that of an
undisturbed one, even when a checkpoint falls between two log lines.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

_FILE = "meter.json"


@dataclass
class Meter:
    loss_sum: float = 0.0  # of the optimizer steps since the last log line
    steps: int = 0
    tokens: int = 0  # without padding, since the last log line
    total_tokens: int = 0  # without padding, since the beginning of the run
    train_seconds: float = 0.0  # in training steps since the beginning, evaluations left out
    seconds: float = 0.0  # in training steps since the last log line
    _pending: list[Tensor] = field(default_factory=list)

    def add(self, loss: Tensor, inputs: dict[str, Any], started: float) -> None:
        """One micro-batch; its loss is already divided by the label tokens of the whole batch."""
        self._pending.append(loss)  # fetched from the device only when a step is complete
        count = int(inputs["attention_mask"].sum())
        self.tokens += count
        self.total_tokens += count
        elapsed = time.perf_counter() - started
        self.seconds += elapsed
        self.train_seconds += elapsed

    def step(self) -> float:
        """Close one optimizer step and return its loss per label token."""
        loss = sum(float(value) for value in self._pending)
        self._pending.clear()
        self.loss_sum += loss
        self.steps += 1
        return loss

    def drain(self) -> dict[str, float]:
        """The means since the last call, which begins a new window."""
        row = {
            "loss": self.loss_sum / max(self.steps, 1),
            "tokens": self.total_tokens,
            "tokens_per_second": self.tokens / max(self.seconds, 1e-9),
        }
        self.loss_sum, self.steps, self.tokens, self.seconds = 0.0, 0, 0, 0.0
        return row

    def save(self, folder: Path) -> None:
        values = {key: value for key, value in asdict(self).items() if not key.startswith("_")}
        (folder / _FILE).write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Meter":
        return cls(**json.loads((folder / _FILE).read_text(encoding="utf-8")))
