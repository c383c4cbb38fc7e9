"""Define the settings of a run: everything that its results depend on."""

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
    """Whether a sweep ends weak cells before their last step."""

    none = "none"
    asha = "asha"  # asynchronous successive halving: at each rung the best cells continue


@dataclass
class SweepConfig:
    """How a grid is searched. What a cell computes does not depend on it."""

    retries: int = setting(
        0, "How often the sweep retries a run that failed.", at_least=0, largest=1000
    )
    metric: str = setting(
        "heldout_loss", "Score or logged value that early stopping and Optuna compare cells by."
    )
    direction: Direction | None = setting(
        None, "Whether a small or a large metric is better; null = known from the metric."
    )
    early_stopping: EarlyStopping = setting(
        EarlyStopping.none, "Whether weak cells end before their last step."
    )
    reduction_factor: int = setting(
        3, "asha lets one cell in this many pass each rung.", unit="cells", at_least=2
    )
    rungs: int = setting(
        2,
        "Number of comparisons before the last step; with reduction_factor=3 at 1/9 and 1/3 of the "
        "steps.",
        above=0,
        largest=20,
    )


@dataclass
class LauncherConfig:
    """Where the runs of a sweep are computed on this machine."""

    jobs: int | None = setting(
        None,
        "Cells that run at the same time; null = one per GPU, or one on a CPU.",
        above=0,
        largest=10_000,
    )
    jobs_per_gpu: int = setting(1, "Cells that share one GPU.", above=0, largest=1000)
    gpus_per_job: int = setting(
        1, "GPUs of one run of a sweep, with one process on each.", above=0, largest=4096
    )
    preload: bool = setting(
        True,
        "Start runs from a process that has already imported torch; false = a fresh process each.",
        formerly=("warm",),
    )


# Trackers: Weights & Biases, TensorBoard, MLflow and trackio, any number of them at once.


class TrackingMode(StrEnum):
    """The connection to a tracking service."""

    auto = "auto"  # online with a key and a network, else offline
    online = "online"
    offline = "offline"
    disabled = "disabled"


@dataclass
class TrackingConfig:
    """The services that receive metrics, in addition to the run folder.

    Keys come from the environment or from each library's login, never from a setting.
    """

    mode: TrackingMode = setting(
        TrackingMode.disabled,
        "Weights & Biases: auto = online with an API key and a network, otherwise offline.",
    )
    project: str = setting(
        "anima_exp", "Project in Weights & Biases and trackio, and experiment in MLflow."
    )
    entity: str | None = setting(None, "User or team in Weights & Biases; null = your default one.")
    group: str | None = setting(
        None, "Group that the runs belong to; null = for a sweep its name, otherwise none."
    )
    tags: list[str] = setting(list, "Tags of the run, in addition to the names of model and data.")
    tensorboard: bool = setting(
        False,
        "If true, write TensorBoard event files into the run folder.",
        since="0.2",
        as_before=False,
    )
    mlflow: bool = setting(False, "If true, log to MLflow.", since="0.2", as_before=False)
    mlflow_uri: str | None = setting(
        None,
        "Server or database of MLflow; null = MLFLOW_TRACKING_URI, or else a database in "
        "runs/mlflow.",
        since="0.2",
    )
    trackio: bool = setting(False, "If true, log to trackio.", since="0.2", as_before=False)
    trackio_space: str | None = setting(
        None,
        "Hugging Face Space that trackio logs to; null = TRACKIO_SPACE_ID, or else this machine.",
        since="0.2",
    )


@dataclass
class RunConfig:
    """Everything one run depends on."""

    model: ModelConfig = setting(ModelConfig, "The base model.")
    quant: QuantConfig = setting(QuantConfig, "How the base model is stored.")
    lora: LoraConfig = setting(LoraConfig, "The adapter.", former_values={"none": "full_finetune"})
    data: DataConfig = setting(DataConfig, "The rows to train on.")
    optimizer: OptimizerConfig = setting(OptimizerConfig, "The optimizer and its schedule.")
    trainer: TrainerConfig = setting(
        TrainerConfig, "How long to train, how a batch is executed, when to evaluate and save."
    )
    evals: EvalsConfig = setting(EvalsConfig, "What is evaluated.")
    tracking: TrackingConfig = setting(
        TrackingConfig, "Where metrics are sent, in addition to the run folder.", in_name=False
    )
    sweep: SweepConfig = setting(SweepConfig, "How a grid is searched.", in_name=False)
    launcher: LauncherConfig = setting(
        LauncherConfig, "Where the runs of a sweep are computed.", in_name=False
    )
    seed: int = setting(
        0,
        "Random seed of the adapter's initial weights, the order of rows, and dropout.",
        at_least=0,
        at_most=LARGEST_SEED,
    )
    runs_dir: str = setting(
        "runs", "Folder in which run folders are created.", in_name=False, formerly=("runs",)
    )
    run_dir: str | None = setting(
        None,
        "Folder of this run; null = a folder in runs_dir, named by the run's settings.",
        in_name=False,
        formerly=("folder",),
    )
    cache_dir: str | None = setting(
        None,
        "Folder for token ids and quantized bases; null = $ANIMA_EXP_CACHE or ~/.cache/anima_exp.",
        in_name=False,
        formerly=("cache",),
    )
    rehearsal_scale: float = setting(
        1.0,
        "Factor on steps and training rows; 0.1 rehearses a large run at a tenth of its length.",
        above=0,
        largest=1e6,
        in_name=False,
        formerly=("scale",),
    )
    dry_run: bool = setting(
        False, "If true, check everything, show what would run, and stop.", in_name=False
    )
