"""trainer.keep_best and trainer.patience: the best evaluation so far, and when to stop.

best.json            in a checkpoint: which evaluation it was, and how many came after it
best*.safetensors    the weights of that evaluation, in `checkpoints/best` and in each checkpoint

An evaluation before the first step does not count, since nothing was trained. A checkpoint holds
its own copy (a second name of the same file), so that a resumed run has the best one as of its
checkpoint and not one of steps that it takes again.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from anima_exp.config import TrainerConfig
from anima_exp.errors import ConfigError, RunError
from anima_exp.metrics.metric import metric
from anima_exp.system import json_files
from anima_exp.system.atomic import disk_errors_as_run_error, remove_folder, replace_folder
from anima_exp.training import weights

FOLDER = "best"  # beside the checkpoints
_DRAFT = ".draft.best"  # checkpoint.py removes what a killed run left
_FILE, _WEIGHTS = "best.json", "best"
_USUAL = "heldout_loss"  # of trainer.patience without trainer.keep_best


@dataclass
class Best:
    metric: str  # empty: neither setting is used
    keeps: bool
    patience: int | None
    value: float | None = None
    step: int | None = None  # None: no evaluation so far had a number
    without_gain: int = 0  # evaluations since
    described: dict[str, dict[str, Any]] = field(default_factory=dict)  # for metrics/metric.py

    @classmethod
    def of(
        cls,
        trainer: TrainerConfig,
        describe: Callable[[list[str]], dict[str, dict[str, Any]]] = lambda _: {},
    ) -> "Best":
        """Return what the settings ask for; `describe` tells of scores of the user's own making."""
        used = trainer.keep_best or (_USUAL if trainer.patience else "")
        return cls(used, bool(trainer.keep_best), trainer.patience, described=describe([used]))

    @property
    def exhausted(self) -> bool:
        """Whether the run is to end, for want of a gain."""
        return self.patience is not None and self.without_gain >= self.patience

    @property
    def reason(self) -> str:
        """Why a run ended before its planned last step."""
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
        """For the record; empty unless the best weights are kept."""
        kept = self.keeps and self.step is not None
        return {"metric": self.metric, "value": self.value, "step": self.step} if kept else {}

    def save(self, checkpoints: Path, draft: Path) -> None:
        """Add this state and the best weights to a checkpoint's draft."""
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


def write_weights(model: Any, checkpoints: Path) -> None:
    """Keep the weights that learn, as they are now, as the best.

    Raises:
        RunError: the disk is full.
    """
    draft = checkpoints / _DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    try:
        with disk_errors_as_run_error(checkpoints):
            draft.mkdir(parents=True)
            weights.save_tensors(
                draft, _WEIGHTS, {n: one.data.contiguous() for n, one in _learnt(model)}
            )
            replace_folder(draft, checkpoints / FOLDER)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def take_back(checkpoint: Path) -> None:
    """Let the best weights of a checkpoint be those of the run: later ones are made again."""
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


def load_weights(model: Any, checkpoints: Path) -> None:
    """Let `model` have the best weights.

    Raises:
        RunError: they are not there.
    """
    stored, wanted = weights.load_tensors(checkpoints / FOLDER, _WEIGHTS), dict(_learnt(model))
    if missing := [name for name in wanted if name not in stored]:
        raise RunError(
            f"{checkpoints / FOLDER} does not hold the best weights: {missing[0]} is missing. "
            "Use another run_dir=... to train this run again."
        )
    with torch.no_grad():
        for name, one in wanted.items():
            one.copy_(stored[name])


def _learnt(model: Any) -> list[tuple[str, Any]]:
    return [(name, one) for name, one in model.named_parameters() if one.requires_grad]


def _copy(source: Path, target: Path) -> None:
    for path in weights.files(source, _WEIGHTS):
        try:
            os.link(path, target / path.name)  # a second name takes no room
        except OSError:
            shutil.copyfile(path, target / path.name)
