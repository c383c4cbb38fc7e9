"""Define what a tracker does: one class for each library, all with the same methods.

A tracker may raise in any method. `results/tracking.py` catches the error and continues the run.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from anima_exp.config import RunConfig
from anima_exp.results.trackers import wandb_account

Row = tuple[int, dict[str, float]]  # a step and the metrics that were measured at it
Pairs = Sequence[tuple[str, str]]  # prompts and responses


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker needs to know about a run."""

    config: RunConfig
    folder: Path
    name: str
    settings: Mapping[str, Any]  # every setting by its dotted key, without passwords
    redo_from: int = 0  # the first step that this start computes again

    @property
    def tags(self) -> list[str]:
        config = self.config
        labels = (config.model.name, config.data.name, config.quant.type.value)
        return sorted({*labels, *config.tracking.tags})


class RunTracker(Protocol):
    """One run in one library."""

    @property
    def label(self) -> str:
        """The library's name in messages."""

    @property
    def note(self) -> str | None:
        """One line that says where the run can be seen; None as long as that is not known."""

    @property
    def live(self) -> bool:
        """Whether the run can be watched there while it trains."""

    def start(self) -> None:
        """Open the run, or the run that an earlier start of the same folder opened."""

    def resume(self, rows: Sequence[Row], generations: Sequence[tuple[int, Pairs]]) -> None:
        """Log what is missing of the steps that earlier starts computed."""

    def log(self, rows: Sequence[Row]) -> None: ...

    def log_generations(self, step: int, pairs: Pairs) -> None: ...

    def finish(self, scores: Mapping[str, float] | None, *, failed: bool) -> None:
        """Close the run. `scores` is None if it ends before its last step."""


def metrics(row: Mapping[str, Any]) -> Row:
    """Return the step of a line of metrics.jsonl, and the numbers in it by name."""
    return row["step"], {key: row[key] for key in row if key != "step" and _is_number(row[key])}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Held:
    """The last step that a library already has of each metric, to log no step twice.

    Args:
        last: by metric.
        before: every metric has all steps below this one.
    """

    def __init__(self, last: Mapping[str, int] | None = None, *, before: int = -1) -> None:
        self._last = dict(last or {})
        self._before = before

    def missing(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield what is newer, and remember it."""
        for step, values in rows:
            new = {key: value for key, value in values.items() if step > self.last(key)}
            self._last |= dict.fromkeys(new, step)
            if new:
                yield step, new

    def last(self, key: str) -> int:
        return max(self._last.get(key, -1), self._before - 1)


_SECRET = re.compile(r"(KEY|TOKEN|PASSWORD|SECRET)$")
_IN_QUERY = re.compile(r"(?i)([?&][\w-]*(?:token|key|password|secret)=)[^&\s'\"]+")


def without_secrets(text: str) -> str:
    """Replace everything that could be a key or a password in a message of a library."""
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= 6:
            text = text.replace(value, "***")
    return _IN_QUERY.sub(r"\1***", wandb_account.without_keys(text))
