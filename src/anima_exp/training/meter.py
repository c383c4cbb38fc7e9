"""Count loss, tokens and seconds since the last log line.

The counts are saved with each checkpoint. So the loss curve of an interrupted run equals that of an
undisturbed one, even if a checkpoint falls between two log lines.
"""

import json
import time
from dataclasses import dataclass, fields
from pathlib import Path

from anima_exp.system import json_files

_FILE = "meter.json"


@dataclass
class Meter:
    """Counts since the last log line, and since the start of the run."""

    loss_sum: float = 0.0  # of the optimizer steps since the last log line
    steps: int = 0
    tokens: int = 0  # without padding, since the last log line
    total_tokens: int = 0  # without padding, since the start of the run
    seconds: float = 0.0  # of training since the last log line, without evaluating and saving
    train_seconds: float = 0.0  # the same since the start of the run
    token_limit: int | None = None  # the token budget, if memory ran out before
    out_of_memory: int = 0  # how often memory ran out
    _clock: float = 0.0

    def start_clock(self) -> None:
        """Start the clock: call it before training, and after anything that is not training."""
        self._clock = time.perf_counter()

    def step(self, loss: float, *, tokens: int) -> None:
        """Count one optimizer step, with its loss per label token and its tokens."""
        now = time.perf_counter()
        self.seconds += now - self._clock
        self.train_seconds += now - self._clock
        self._clock = now
        self.loss_sum += loss
        self.steps += 1
        self.tokens += tokens
        self.total_tokens += tokens

    def drain(self) -> dict[str, float]:
        """Return the means since the last call, and start a new window."""
        row = {
            "loss": self.loss_sum / max(self.steps, 1),
            "tokens": self.total_tokens,
            "tokens_per_second": self.tokens / max(self.seconds, 1e-9),
        }
        self.loss_sum, self.steps, self.tokens, self.seconds = 0.0, 0, 0, 0.0
        return row

    def save(self, folder: Path) -> None:
        """Write the counts into a checkpoint."""
        saved = (f for f in fields(self) if not f.name.startswith("_"))
        values = {f.name: getattr(self, f.name) for f in saved}
        values = json_files.stamp(values, json_files.METER)
        (folder / _FILE).write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Meter":
        """Read the counts of a checkpoint."""
        file = folder / _FILE
        return cls(**json_files.read_versioned(json_files.read_table(file), file, json_files.METER))
