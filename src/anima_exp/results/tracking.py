"""Log a run to the trackers that its settings choose. An error of a tracker never stops the run.

    tracking=wandb   tracking=[wandb,tensorboard]   tracking=none

Each tracker receives the same metrics under the same names. Keys come from each library's own
environment variables or login, never from a setting.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

from anima_exp.config import RunConfig, TrackingMode
from anima_exp.errors import ConfigError, first_line
from anima_exp.events import Said, emitter
from anima_exp.results import identity
from anima_exp.results.trackers import mlflow, tensorboard, trackio, wandb
from anima_exp.results.trackers.background import InBackground
from anima_exp.results.trackers.base import (
    Pairs,
    Row,
    RunTracker,
    TrackedRun,
    metrics,
    without_secrets,
)

# Trackers that may wait for a server run in their own thread. W&B has its own process for this.
_TRACKERS: dict[str, Callable[[TrackedRun], RunTracker]] = {
    "wandb": wandb.WandB,
    "tensorboard": tensorboard.TensorBoard,
    "mlflow": lambda run: InBackground(mlflow.MLflow(run)),
    "trackio": lambda run: InBackground(trackio.Trackio(run)),
}
_LABELS = dict(zip(_TRACKERS, ("W&B", "TensorBoard", "MLflow", "trackio"), strict=True))


def chosen(config: RunConfig) -> list[str]:
    """Return the names of the trackers that the settings switch on."""
    on = {
        "wandb": config.tracking.mode is not TrackingMode.disabled,
        "tensorboard": config.tracking.tensorboard,
        "mlflow": config.tracking.mlflow,
        "trackio": config.tracking.trackio,
    }
    return [name for name in _TRACKERS if on[name]]


def check_installed(config: RunConfig) -> None:
    """Raise ConfigError for a tracker whose library is not installed, before anything is loaded."""
    for name in chosen(config):
        needed = {name}
        if name == "mlflow" and mlflow.needs_database(config):
            needed |= {"sqlalchemy", "alembic"}  # mlflow-skinny comes without them
        if name != "wandb" and (missing := [one for one in sorted(needed) if not find_spec(one)]):
            raise ConfigError(
                f"tracking={name} needs {missing[0]}, which is not installed: "
                f"pip install 'anima-exp[{name}]'"
            )


class Tracker:
    """All trackers of a run. One that raises is dropped, with a line that says why.

    `notes` has a line for each tracker: where the run can be seen, or why it is not there.

    Args:
        redo_from: the first step that this start computes again; 0 if the run starts anew.
    """

    def __init__(
        self, config: RunConfig, folder: Path, *, processes: int = 1, redo_from: int = 0
    ) -> None:
        self.notes: dict[str, str] = {}
        self._heard = emitter()  # also by the threads of `finish`
        self._on: dict[str, RunTracker] = {}
        names = chosen(config)
        if not names:
            return
        settings = {**identity.flatten(config), "processes": processes}
        run = TrackedRun(config, folder, identity.run_name(config), settings, redo_from)
        for name in names:
            try:
                tracker = _TRACKERS[name](run)
                tracker.start()
            except Exception as error:  # the run continues after any error of the library
                self._drop(name, error)
            else:
                self._on[name] = tracker
                if tracker.live and tracker.note:
                    self._heard(Said(f"track    {tracker.note}"))
        self._take_notes()

    def resume(
        self, rows: Iterable[Mapping[str, Any]], generations: Iterable[tuple[int, Pairs]]
    ) -> None:
        """Log what earlier starts computed to trackers that do not have it."""
        known, texts = [metrics(row) for row in rows], list(generations)
        self._each(lambda tracker: tracker.resume(known, texts))

    def log(self, row: Mapping[str, Any]) -> None:
        """Log a line of metrics.jsonl."""
        rows: Sequence[Row] = [metrics(row)]
        self._each(lambda tracker: tracker.log(rows))

    def log_generations(self, step: int, generations: Pairs) -> None:
        """Log (prompt, response) pairs."""
        self._each(lambda tracker: tracker.log_generations(step, generations))

    def finish(self, scores: Mapping[str, float] | None = None, *, failed: bool = False) -> None:
        """Close the run in each tracker. `scores` is None if it ends before its last step."""
        threads = [
            # At the same time: each may wait for its server until its own limit.
            Thread(target=self._one, args=(name, lambda one: one.finish(scores, failed=failed)))
            for name in self._on
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._take_notes()
        self._on = {}

    def _each(self, action: Callable[[RunTracker], None]) -> None:
        for name in list(self._on):
            self._one(name, action)

    def _one(self, name: str, action: Callable[[RunTracker], None]) -> None:
        try:
            action(self._on[name])
        except Exception as error:  # the run continues after any error of the library
            self._drop(name, error)

    def _drop(self, name: str, error: Exception) -> None:
        self._on.pop(name, None)
        reason = without_secrets(first_line(error)).rstrip(".")
        self.notes[name] = (
            f"{_LABELS[name]} is off: {reason}. The run continues, and metrics.jsonl has every "
            "value."
        )
        self._heard(Said(f"track    {self.notes[name]}"))

    def _take_notes(self) -> None:
        self.notes |= {name: one.note for name, one in self._on.items() if one.note}
