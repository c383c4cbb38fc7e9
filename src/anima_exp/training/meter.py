"""What happened since the last log line: loss, tokens, seconds.

It is saved with each checkpoint, so that the loss curve of an interrupted run equals that of an
undisturbed one, even when a checkpoint falls between two log lines.
"""

import json
import time
from dataclasses import dataclass, fields
from pathlib import Path

from anima_exp.system import json_files

_FILE = "meter.json"


@dataclass
class Meter:
    loss_sum: float = 0.0  # of the optimizer steps since the last log line
    steps: int = 0
    tokens: int = 0  # without padding, since the last log line
    total_tokens: int = 0  # without padding, since the beginning of the run
    seconds: float = 0.0  # of training since the last log line, evaluations and saving left out
    train_seconds: float = 0.0  # the same since the beginning of the run
    token_limit: int | None = None  # of a micro-batch: what running out of memory has taught
    out_of_memory: int = 0  # how often it did
    _clock: float = 0.0

    def start_clock(self) -> None:
        """Time runs from here: call before training, and after anything that is not training."""
        self._clock = time.perf_counter()

    def step(self, loss: float, *, tokens: int) -> None:
        """One optimizer step: its loss per label token, and its tokens."""
        now = time.perf_counter()
        self.seconds += now - self._clock
        self.train_seconds += now - self._clock
        self._clock = now
        self.loss_sum += loss
        self.steps += 1
        self.tokens += tokens
        self.total_tokens += tokens

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
        saved = (f for f in fields(self) if not f.name.startswith("_"))
        values = {f.name: getattr(self, f.name) for f in saved}
        values = json_files.stamp(values, json_files.METER)
        (folder / _FILE).write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Meter":
        file = folder / _FILE
        return cls(**json_files.read_versioned(json_files.read_table(file), file, json_files.METER))
