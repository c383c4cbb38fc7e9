"""The settings of a run: one dataclass per folder of conf/.

Hydra merges YAML files into these classes, so a key that no class has stops composition. Each
setting has a description with its unit, default and effect (config/setting.py). Rules that span
two settings are in config/checks.py. The published values are in conf/, next to their source.
"""

from anima_exp.config.commands import (
    EvaluateConfig,
    GenerateConfig,
    InspectDataConfig,
    MergeConfig,
    MergeTarget,
    UseConfig,
)
from anima_exp.config.data import (
    BadRow,
    DataConfig,
    LengthStatsConfig,
    MixBy,
    MixSize,
    SpecialTokensInText,
    Thinking,
    TooLong,
    TrainOn,
)
from anima_exp.config.evals import (
    BENCHMARKS,
    AnsweringConfig,
    AnswersConfig,
    ChoiceScore,
    EvalsConfig,
    ExactMatchConfig,
    ForgettingConfig,
    HeldoutConfig,
    MultipleChoiceConfig,
    SamplesConfig,
    benchmark_key,
    benchmarks_of,
)
from anima_exp.config.from_settings import config_of
from anima_exp.config.mixture import MixturePart
from anima_exp.config.model import (
    Attention,
    LoraConfig,
    ModelConfig,
    Precision,
    QuantConfig,
    Quantization,
    Recommended,
    ShapeConfig,
    TargetModules,
)
from anima_exp.config.run import (
    Direction,
    EarlyStopping,
    LauncherConfig,
    RunConfig,
    SweepConfig,
    TrackingConfig,
    TrackingMode,
)
from anima_exp.config.training import (
    ActivationCheckpointing,
    LossNormalization,
    OptimizerConfig,
    OptimizerName,
    Schedule,
    TrainerConfig,
)

__all__ = [
    "BENCHMARKS",
    "ActivationCheckpointing",
    "AnsweringConfig",
    "AnswersConfig",
    "Attention",
    "BadRow",
    "ChoiceScore",
    "DataConfig",
    "Direction",
    "EarlyStopping",
    "EvalsConfig",
    "EvaluateConfig",
    "ExactMatchConfig",
    "ForgettingConfig",
    "GenerateConfig",
    "HeldoutConfig",
    "InspectDataConfig",
    "LauncherConfig",
    "LengthStatsConfig",
    "LoraConfig",
    "LossNormalization",
    "MergeConfig",
    "MergeTarget",
    "MixBy",
    "MixSize",
    "MixturePart",
    "ModelConfig",
    "MultipleChoiceConfig",
    "OptimizerConfig",
    "OptimizerName",
    "Precision",
    "QuantConfig",
    "Quantization",
    "Recommended",
    "RunConfig",
    "SamplesConfig",
    "Schedule",
    "ShapeConfig",
    "SpecialTokensInText",
    "SweepConfig",
    "TargetModules",
    "Thinking",
    "TooLong",
    "TrackingConfig",
    "TrackingMode",
    "TrainOn",
    "TrainerConfig",
    "UseConfig",
    "benchmark_key",
    "benchmarks_of",
    "config_of",
]
