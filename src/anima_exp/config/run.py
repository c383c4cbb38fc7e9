"""Everything one run depends on."""

from dataclasses import dataclass, field

from anima_exp.config.data import DataConfig
from anima_exp.config.evals import EvalsConfig
from anima_exp.config.model import LoraConfig, ModelConfig, QuantConfig
from anima_exp.config.sweep import LauncherConfig, SweepConfig
from anima_exp.config.tracking import TrackingConfig
from anima_exp.config.training import OptimizerConfig, TrainerConfig


@dataclass
class RunConfig:
    """Everything one run depends on."""

    model: ModelConfig = field(default_factory=ModelConfig)
    quant: QuantConfig = field(default_factory=QuantConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    evals: EvalsConfig = field(default_factory=EvalsConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    launcher: LauncherConfig = field(default_factory=LauncherConfig)
    seed: int = 0  # adapter initialisation, row order, dropout
    runs: str = "runs"  # the folder that run folders are made in
    folder: str | None = None  # this run's own folder; null = named by what it computes
    cache: str | None = None  # token ids, quantised bases; null = ~/.cache/anima_exp
    scale: float = 1.0  # shrinks steps and rows alike, for a small rehearsal of a large run
    dry_run: bool = False  # compose and check everything, show what would run, and stop
