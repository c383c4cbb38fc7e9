"""How a grid is searched, and where its cells run."""

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Which way a metric is better."""

    minimize = "minimize"
    maximize = "maximize"


class EarlyStopping(StrEnum):
    """Whether a sweep gives up losing cells before their last step."""

    none = "none"
    asha = "asha"  # asynchronous successive halving: at each rung the best share goes on


@dataclass
class SweepConfig:
    """How a grid is searched. What a cell computes does not depend on it."""

    retries: int = 0  # more tries for a cell that failed, before the sweep ends
    metric: str = "heldout_loss"  # a score or a logged value: what early stopping and Optuna go by
    direction: Direction | None = None  # null = as the metric is better: a loss when smaller
    early_stopping: EarlyStopping = EarlyStopping.none
    reduction_factor: int = 3  # at each rung one cell in so many goes on
    rungs: int = 2  # pauses before the last step, at steps / 9 and steps / 3 for a factor of 3


@dataclass
class LauncherConfig:
    """Where the cells of a sweep run on this machine."""

    jobs: int | None = None  # at once; null = one a GPU, or one on a CPU
    jobs_per_gpu: int = 1
    gpus_per_job: int = 1  # a run of several processes, one a GPU
    warm: bool = True  # fork jobs from a process that has imported torch; false = a fresh one each
