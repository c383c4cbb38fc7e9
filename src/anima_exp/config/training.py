"""The optimizer and the training loop."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.model import Precision
from anima_exp.config.setting import MISSING, setting


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
    warmup_stable_decay = "warmup_stable_decay"


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
    """The optimizer, its learning rate and how that moves."""

    name: OptimizerName = setting(
        MISSING,
        "The optimizer. On a GPU with room for all states torch computes paged_adamw_32bit.",
        label="optimizer",
    )
    learning_rate: float = setting(MISSING, "Largest learning rate.", above=0, largest=1e3)
    schedule: Schedule = setting(Schedule.constant, "How the learning rate moves over the run.")
    warmup_ratio: float = setting(
        0.0, "Share of the steps over which the rate rises from 0.", at_least=0, below=1
    )
    warmup_steps: int | None = setting(
        None,
        "Steps over which the rate rises from 0; null = optimizer.warmup_ratio decides.",
        unit="steps",
        at_least=0,
        largest=10**9,
        since="0.2",
    )
    min_learning_rate_ratio: float = setting(
        0.0,
        "Share of the largest rate that cosine and warmup_stable_decay end at.",
        at_least=0,
        below=1,
        since="0.2",
        as_before=0.0,
    )
    decay_ratio: float = setting(
        0.1,
        "Share of the steps over which warmup_stable_decay lowers the rate at the end.",
        above=0,
        at_most=1,
        since="0.2",
        as_before=0.1,
    )
    lora_plus_ratio: float | None = setting(
        None,
        "LoRA+: the learning rate of B as a multiple of that of A; null = the same rate.",
        above=0,
        largest=1e6,
        since="0.2",
    )
    weight_decay: float = setting(0.0, "AdamW's weight decay.", at_least=0)
    beta1: float = setting(0.9, "Decay of the gradients' mean.", at_least=0, below=1)
    beta2: float = setting(0.999, "Decay of the squared gradients' mean.", at_least=0, below=1)
    epsilon: float = setting(1e-8, "Added to the denominator of the update.", above=0)
    max_grad_norm: float = setting(
        0.3, "Gradients are scaled down to this norm; 0 leaves them.", at_least=0
    )


@dataclass
class TrainerConfig:
    """How long to train, how much at once, and how often to look and to save."""

    steps: int | None = setting(
        None,
        "Optimizer steps; null = trainer.epochs decides.",
        unit="steps",
        above=0,
        largest=10**9,
    )
    epochs: float | None = setting(
        None,
        "Passes over the training rows; null = trainer.steps decides.",
        unit="passes",
        above=0,
        largest=1e6,
    )
    batch_size: int = setting(
        MISSING,
        "Examples per optimizer step, over all devices.",
        unit="examples",
        above=0,
        largest=10**6,
    )
    loss_average: LossAverage = setting(LossAverage.token, "What weighs the same in a batch.")
    # How a batch is executed, which changes its speed and memory but not its gradient:
    token_budget: int | None = setting(
        None,
        "Tokens of one forward pass; null = what free memory allows.",
        unit="tokens",
        above=0,
        in_name=False,
    )
    recompute: Recompute | None = setting(
        None,
        "What the backward pass computes again; null = as little as free memory allows.",
        in_name=False,
    )
    liger: bool | None = setting(
        None, "Fused kernels of liger-kernel; null = on a GPU if it is installed.", in_name=False
    )
    gpus: int | None = setting(
        None,
        "Processes that share a batch, one a GPU; null = launcher.gpus_per_job, or as torchrun "
        "says.",
        above=0,
        largest=4096,
        in_name=False,
    )
    shard_base: bool | None = setting(
        None, "Split the base over the GPUs; null = if one GPU cannot hold it.", in_name=False
    )
    precision: Precision = setting(MISSING, "The type that matrix products are computed in.")
    group_by_length: bool = setting(
        True, "Batches of similar length, as QLoRA; the loss curve then is a saw-tooth."
    )
    log_every: int = setting(10, "Interval of log lines.", unit="steps", above=0, in_name=False)
    eval_every: int | None = setting(
        None,
        "Interval of evaluations; null = before and after training only.",
        unit="steps",
        above=0,
    )
    keep_best: str | None = setting(
        None,
        "Score whose best evaluation's weights the run leaves; null = the weights of the last "
        "step.",
        since="0.2",
    )
    patience: int | None = setting(
        None,
        "Evaluations without a gain in trainer.keep_best, or in heldout_loss, that end the run; "
        "null = none do.",
        unit="evaluations",
        above=0,
        largest=10**6,
        since="0.2",
    )
    eval_at_start: bool = setting(True, "Evaluate before training.")
    save_every: int = setting(250, "Interval of checkpoints.", unit="steps", above=0, in_name=False)
    keep_checkpoints: int = setting(2, "Checkpoints kept, the newest ones.", above=0, in_name=False)
