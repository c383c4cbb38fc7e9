"""Keep the weights of the best evaluation (trainer.keep_best), and stop early (trainer.patience).

best.json            in a checkpoint: the best evaluation, and how many came after it
best*.safetensors    the weights of that evaluation, in `checkpoints/best` and in each checkpoint

An evaluation before the first step does not count, since nothing was trained. Each checkpoint holds
its own hard link to the best weights. So a resumed run continues with the best evaluation as of its
checkpoint, not with one of steps that it repeats.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from anima_exp.config import TrainerConfig
from anima_exp.errors import ConfigError, RunError
from anima_exp.metrics.metric import metric
from anima_exp.system import json_files
from anima_exp.system.atomic import disk_errors_as_run_error, remove_folder, replace_folder
from anima_exp.training import weights

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


FOLDER = "best"  # next to the checkpoints
_DRAFT = ".draft.best"  # checkpoint.py removes it after a killed run
_FILE, _WEIGHTS = "best.json", "best"
_DEFAULT_METRIC = "heldout_loss"  # for trainer.patience without trainer.keep_best


@dataclass
class Best:
    """The best evaluation so far."""

    metric: str  # empty: neither setting is used
    keeps: bool
    patience: int | None
    value: float | None = None
    step: int | None = None  # None: no evaluation so far had a number
    without_gain: int = 0  # evaluations after it
    described: dict[str, dict[str, Any]] = field(default_factory=dict)  # for metrics/metric.py

    @classmethod
    def of(
        cls,
        trainer: TrainerConfig,
        describe: Callable[[list[str]], dict[str, dict[str, Any]]] = lambda _: {},
    ) -> "Best":
        """Return the state for these settings, before any evaluation.

        Args:
            describe: returns the descriptions of the user's own metrics among the given names.
        """
        used = trainer.keep_best or (_DEFAULT_METRIC if trainer.patience else "")
        return cls(used, bool(trainer.keep_best), trainer.patience, described=describe([used]))

    @property
    def exhausted(self) -> bool:
        """Whether the run ends early, because trainer.patience evaluations brought no gain."""
        return self.patience is not None and self.without_gain >= self.patience

    @property
    def reason(self) -> str:
        """The reason why a run ended before its planned last step."""
        return (
            f"trainer.patience={self.patience}: {self.without_gain} evaluations without a gain in "
            f"{self.metric}"
        )

    def checked(self, scores: dict[str, float]) -> dict[str, float]:
        """Return `scores`; raise ConfigError unless the metric is among them."""
        if self.metric and self.metric not in scores:
            setting = f"trainer.keep_best={self.metric} is"
            if not self.keeps:
                setting = f"trainer.patience={self.patience} needs {self.metric}, which is"
            raise ConfigError(
                f"{setting} not among the scores of this run's evaluations: "
                f"{', '.join(sorted(scores)) or 'there are none'}. Choose one of them with "
                "trainer.keep_best, or add its evaluation with evals=[...]."
            )
        return scores

    def judge(self, step: int, scores: Mapping[str, float]) -> bool:
        """Count the evaluation of `step`; return whether it is the best so far."""
        value, kind = scores[self.metric], metric(self.metric, self.described)
        gain = math.isfinite(value) and (
            self.value is None or kind.sort_key(value) < kind.sort_key(self.value)
        )
        if gain:
            self.value, self.step, self.without_gain = value, step, 0
        else:
            self.without_gain += 1
        return gain

    def summary(self) -> dict[str, Any]:
        """Return the entry of the record; empty unless the best weights are kept."""
        kept = self.keeps and self.step is not None
        return {"metric": self.metric, "value": self.value, "step": self.step} if kept else {}

    def save(self, checkpoints: Path, draft: Path) -> None:
        """Add this state and the best weights to the draft of a checkpoint."""
        if not self.metric:
            return
        values = {"value": self.value, "step": self.step, "without_gain": self.without_gain}
        stamped = json_files.stamp(values, json_files.BEST)
        (draft / _FILE).write_text(json.dumps(stamped), encoding="utf-8")
        if self.keeps and self.step is not None:
            _copy(checkpoints / FOLDER, draft)

    def load(self, checkpoint: Path) -> None:
        """Continue from the state in a checkpoint."""
        if self.metric:
            file = checkpoint / _FILE
            values = json_files.read_versioned(json_files.read_table(file), file, json_files.BEST)
            self.value, self.step = values["value"], values["step"]
            self.without_gain = values["without_gain"]


def write_weights(model: "PreTrainedModel | PeftModel", checkpoints: Path) -> None:
    """Save the current trained weights as the best.

    Raises:
        RunError: if the disk is full.
    """
    draft = checkpoints / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with disk_errors_as_run_error(checkpoints):
            draft.mkdir(parents=True)
            weights.save_tensors(
                draft, _WEIGHTS, {n: one.data.contiguous() for n, one in _trainable(model)}
            )
            replace_folder(draft, checkpoints / FOLDER)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def restore_best(checkpoint: Path) -> None:
    """Replace the run's best weights with those of a checkpoint; later steps are repeated."""
    kept = checkpoint.parent / FOLDER
    if kept.exists():
        remove_folder(kept)
    if weights.files(checkpoint, _WEIGHTS):
        draft = checkpoint.parent / _DRAFT
        shutil.rmtree(draft, ignore_errors=True)
        with disk_errors_as_run_error(checkpoint.parent):
            draft.mkdir()
            _copy(checkpoint, draft)
            replace_folder(draft, kept)


def load_weights(model: "PreTrainedModel | PeftModel", checkpoints: Path) -> None:
    """Load the best weights into `model`.

    Raises:
        RunError: if a weight is missing.
    """
    stored, wanted = weights.load_tensors(checkpoints / FOLDER, _WEIGHTS), dict(_trainable(model))
    if missing := [name for name in wanted if name not in stored]:
        raise RunError(
            f"{checkpoints / FOLDER} does not hold the best weights: {missing[0]} is missing. "
            "Use another run_dir=... to train this run again."
        )
    with torch.no_grad():
        for name, one in wanted.items():
            one.copy_(stored[name])


def _trainable(model: "PreTrainedModel | PeftModel") -> list[tuple[str, Any]]:
    return [(name, one) for name, one in model.named_parameters() if one.requires_grad]


def _copy(source: Path, target: Path) -> None:
    for path in weights.files(source, _WEIGHTS):
        try:
            os.link(path, target / path.name)  # a hard link takes no disk space
        except OSError:
            shutil.copyfile(path, target / path.name)
