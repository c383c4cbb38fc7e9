"""How a grid is searched, and where its cells run."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.setting import setting


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

    retries: int = setting(
        0, "More tries for a cell that failed, before the sweep ends.", at_least=0, largest=1000
    )
    metric: str = setting(
        "heldout_loss", "A score or a logged value that early stopping and Optuna go by."
    )
    direction: Direction | None = setting(
        None, "Which way the metric is better; null = as the metric says: a loss when smaller."
    )
    early_stopping: EarlyStopping = setting(
        EarlyStopping.none, "Whether losing cells end before their last step."
    )
    reduction_factor: int = setting(3, "At each rung one cell in this many continues.", at_least=2)
    rungs: int = setting(
        2,
        "Pauses before the last step: at steps / 9 and steps / 3 for a factor of 3.",
        above=0,
        largest=20,
    )


@dataclass
class LauncherConfig:
    """Where the cells of a sweep run on this machine."""

    jobs: int | None = setting(
        None, "Cells at once; null = one a GPU, or one on a CPU.", above=0, largest=10_000
    )
    jobs_per_gpu: int = setting(1, "Cells that share a GPU.", above=0, largest=1000)
    gpus_per_job: int = setting(
        1, "GPUs of one cell, with one process on each.", above=0, largest=4096
    )
    warm: bool = setting(
        True, "Fork cells from a process that has imported torch; false starts each afresh."
    )
