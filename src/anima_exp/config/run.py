"""Everything one run depends on."""

from dataclasses import dataclass

from anima_exp.config.data import DataConfig
from anima_exp.config.evals import EvalsConfig
from anima_exp.config.model import LoraConfig, ModelConfig, QuantConfig
from anima_exp.config.setting import LARGEST_SEED, setting
from anima_exp.config.sweep import LauncherConfig, SweepConfig
from anima_exp.config.tracking import TrackingConfig
from anima_exp.config.training import OptimizerConfig, TrainerConfig


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
