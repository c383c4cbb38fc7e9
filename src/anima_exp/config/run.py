"""Everything one run depends on."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.data import DataConfig
from anima_exp.config.evals import EvalsConfig
from anima_exp.config.model import LoraConfig, ModelConfig, QuantConfig
from anima_exp.config.setting import LARGEST_SEED, setting
from anima_exp.config.training import OptimizerConfig, TrainerConfig

# How a grid is searched, and where its cells run.


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


# Trackers: Weights & Biases, TensorBoard, MLflow and trackio, any number of them at once.


class TrackingMode(StrEnum):
    auto = "auto"  # online with a key and a network, else offline
    online = "online"
    offline = "offline"
    disabled = "disabled"


@dataclass
class TrackingConfig:
    """Where metrics go beside the run folder.

    Keys come from the environment or each library's login, never from here.
    """

    mode: TrackingMode = setting(
        TrackingMode.disabled,
        "Of Weights & Biases: auto is online with a key and a network, else offline.",
    )
    project: str = setting("anima_exp", "The project, or MLflow's experiment.")
    entity: str | None = setting(None, "The user or team in Weights & Biases; null = your default.")
    group: str | None = setting(None, "The group that the runs are put in.")
    tags: list[str] = setting(list, "Tags of the run, in addition to those of model and data.")
    tensorboard: bool = setting(
        False,
        "Whether to write TensorBoard's event files in the run folder.",
        since="0.2",
        as_before=False,
    )
    mlflow: bool = setting(False, "Whether to log to MLflow.", since="0.2", as_before=False)
    mlflow_uri: str | None = setting(
        None,
        "MLflow's server or database; null = MLFLOW_TRACKING_URI, else a database in runs/mlflow.",
        since="0.2",
    )
    trackio: bool = setting(False, "Whether to log to trackio.", since="0.2", as_before=False)
    trackio_space: str | None = setting(
        None, "The Space that trackio logs to; null = TRACKIO_SPACE_ID, else here.", since="0.2"
    )


@dataclass
class RunConfig:
    """Everything one run depends on."""

    model: ModelConfig = setting(ModelConfig, "The base model.")
    quant: QuantConfig = setting(QuantConfig, "How the base is stored.")
    lora: LoraConfig = setting(LoraConfig, "The adapter.")
    data: DataConfig = setting(DataConfig, "The rows to train on.")
    optimizer: OptimizerConfig = setting(OptimizerConfig, "The optimizer and its schedule.")
    trainer: TrainerConfig = setting(TrainerConfig, "How long, how much at once, how often.")
    evals: EvalsConfig = setting(EvalsConfig, "What is measured.")
    tracking: TrackingConfig = setting(
        TrackingConfig, "Where metrics are sent, in addition to the run folder.", in_name=False
    )
    sweep: SweepConfig = setting(SweepConfig, "How a grid is searched.", in_name=False)
    launcher: LauncherConfig = setting(
        LauncherConfig, "Where the cells of a sweep run.", in_name=False
    )
    seed: int = setting(
        0,
        "Seeds the adapter's start, the row order and dropout.",
        at_least=0,
        at_most=LARGEST_SEED,
    )
    runs: str = setting("runs", "The folder that run folders are made in.", in_name=False)
    folder: str | None = setting(
        None, "This run's own folder; null = named by what it computes.", in_name=False
    )
    cache: str | None = setting(
        None,
        "Folder for token ids and quantised bases; null = $ANIMA_EXP_CACHE or ~/.cache/anima_exp.",
        in_name=False,
    )
    scale: float = setting(
        1.0,
        "Multiplies steps and rows, for a small rehearsal of a large run.",
        above=0,
        largest=1e6,
        in_name=False,
    )
    dry_run: bool = setting(
        False, "Compose and check everything, show what would run, and stop.", in_name=False
    )
