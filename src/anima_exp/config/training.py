"""The optimizer and the training loop."""

from dataclasses import dataclass
from enum import StrEnum

from omegaconf import MISSING

from anima_exp.config.model import Precision


class OptimizerName(StrEnum):
    paged_adamw_32bit = "paged_adamw_32bit"
    paged_adamw_8bit = "paged_adamw_8bit"
    adamw = "adamw"


class Schedule(StrEnum):
    """How the learning rate moves over the run."""

    constant = "constant"
    constant_with_warmup = "constant_with_warmup"
    linear = "linear"
    cosine = "cosine"


@dataclass
class OptimizerConfig:
    name: OptimizerName = MISSING
    learning_rate: float = MISSING
    schedule: Schedule = Schedule.constant
    warmup_ratio: float = 0.0  # share of the steps over which the rate rises from 0
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    max_grad_norm: float = 0.3


@dataclass
class TrainerConfig:
    steps: int | None = None  # optimizer steps; null = trainer.epochs decides
    epochs: float | None = None  # passes over the training rows; null = trainer.steps decides
    batch_size: int = MISSING  # examples per optimizer step, over all devices
    micro_batch_size: int = MISSING  # examples per forward pass and device
    precision: Precision = MISSING
    gradient_checkpointing: bool = MISSING
    group_by_length: bool = True  # batches of similar length: less padding, a saw-tooth loss curve
    log_every: int = 10  # steps
    eval_every: int | None = None  # steps; null = before and after training only
    eval_at_start: bool = True  # the "before" figure
    save_every: int = 250  # steps
    keep_checkpoints: int = 2  # the newest; older ones are deleted
