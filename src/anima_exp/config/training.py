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


class LossAverage(StrEnum):
    """What weighs the same in the loss of one optimizer batch."""

    token = "token"  # every label token
    row = "row"  # every row: the mean of the rows' means, as qlora.py with one row at a time


class Recompute(StrEnum):
    """What the backward pass computes again instead of keeping it in memory."""

    none = "none"
    selective = "selective"  # all but matrix products and attention
    full = "full"  # each decoder block: gradient checkpointing, as qlora.py


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
    loss_average: LossAverage = LossAverage.token
    # How a batch is executed, which changes its speed and memory but not its gradient:
    token_budget: int | None = None  # tokens in one forward pass; null = what free memory allows
    recompute: Recompute | None = None  # null = as little as free memory allows
    liger: bool | None = None  # fused kernels of liger-kernel; null = on a GPU that has them
    # Processes that share a batch, one a GPU; null = launcher.gpus_per_job, or as torchrun says.
    gpus: int | None = None
    shard_base: bool | None = None  # the base split over them; null = where one GPU cannot hold it
    precision: Precision = MISSING
    group_by_length: bool = True  # batches of similar length: as QLoRA, a saw-tooth loss curve
    log_every: int = 10  # steps
    eval_every: int | None = None  # steps; null = before and after training only
    eval_at_start: bool = True  # the "before" figure
    save_every: int = 250  # steps
    keep_checkpoints: int = 2  # the newest; older ones are deleted
