"""Define the settings of the optimizer and of the training loop."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.model import Precision
from anima_exp.config.setting import MISSING, setting


class OptimizerName(StrEnum):
    """The kind of optimizer; a paged one may move its states to CPU memory."""

    paged_adamw_32bit = "paged_adamw_32bit"
    paged_adamw_8bit = "paged_adamw_8bit"
    adamw = "adamw"


class Schedule(StrEnum):
    """How the learning rate changes over the run."""

    constant = "constant"
    constant_with_warmup = "constant_with_warmup"
    linear = "linear"
    cosine = "cosine"
    warmup_stable_decay = "warmup_stable_decay"


class LossNormalization(StrEnum):
    """The units that the loss of an optimizer batch is averaged over."""

    token = "token"  # over all label tokens: long rows weigh more
    row = "row"  # over the rows' own means, as qlora.py does with one row per micro-batch


class ActivationCheckpointing(StrEnum):
    """The activations that the backward pass recomputes instead of keeping them in memory."""

    none = "none"
    selective = "selective"  # everything but matrix products and attention
    full = "full"  # each decoder block: "gradient checkpointing", as qlora.py


@dataclass
class OptimizerConfig:
    """The optimizer, its learning rate and how that changes."""

    name: OptimizerName = setting(
        MISSING,
        "AdamW in 32 bits, in 8 bits, or torch's own; the paged ones move states to CPU memory if "
        "the GPU is full.",
        label="optimizer",
    )
    learning_rate: float = setting(MISSING, "Peak learning rate.", above=0, largest=1e3)
    schedule: Schedule = setting(Schedule.constant, "How the learning rate changes over the run.")
    warmup_ratio: float = setting(
        0.0,
        "Fraction of all steps over which the learning rate rises from 0.",
        at_least=0,
        below=1,
    )
    warmup_steps: int | None = setting(
        None,
        "Steps over which the learning rate rises from 0; null = optimizer.warmup_ratio decides.",
        unit="steps",
        at_least=0,
        largest=10**9,
        since="0.2",
    )
    min_learning_rate_ratio: float = setting(
        0.0,
        "Final learning rate of cosine and warmup_stable_decay, as a fraction of learning_rate.",
        at_least=0,
        below=1,
        since="0.2",
        as_before=0.0,
    )
    decay_ratio: float = setting(
        0.1,
        "Fraction of all steps, at the end, over which warmup_stable_decay lowers the rate.",
        above=0,
        at_most=1,
        since="0.2",
        as_before=0.1,
    )
    lora_plus_ratio: float | None = setting(
        None,
        "LoRA+: learning rate of the B matrices divided by that of the A matrices; null = the "
        "same.",
        above=0,
        largest=1e6,
        since="0.2",
    )
    weight_decay: float = setting(0.0, "AdamW's decoupled weight decay.", at_least=0)
    beta1: float = setting(
        0.9, "Decay rate of AdamW's running mean of gradients.", at_least=0, below=1
    )
    beta2: float = setting(
        0.999, "Decay rate of AdamW's running mean of squared gradients.", at_least=0, below=1
    )
    epsilon: float = setting(
        1e-8, "Added to the denominator of AdamW's update for stability.", above=0
    )
    max_grad_norm: float = setting(0.3, "Clip gradients to this norm; 0 = no clipping.", at_least=0)


@dataclass
class TrainerConfig:
    """How long to train, how a batch is executed, and when to evaluate and save."""

    max_steps: int | None = setting(
        None,
        "Optimizer steps to train for; null = trainer.num_epochs decides.",
        unit="steps",
        above=0,
        largest=10**9,
        formerly=("steps",),
    )
    num_epochs: float | None = setting(
        None,
        "Passes over the training rows; null = trainer.max_steps decides.",
        unit="epochs",
        above=0,
        largest=1e6,
        formerly=("epochs",),
    )
    batch_size: int = setting(
        MISSING,
        "Examples per optimizer step, summed over all GPUs and micro-batches.",
        unit="examples",
        above=0,
        largest=10**6,
    )
    loss_normalization: LossNormalization = setting(
        LossNormalization.token,
        "Average the loss of a batch over all its label tokens, or over its rows.",
        formerly=("loss_average",),
    )
    # How a batch is executed. These change speed and memory, but not the gradient:
    max_tokens_per_micro_batch: int | None = setting(
        None,
        "Most tokens in one forward pass; null = as many as free memory allows.",
        unit="tokens",
        above=0,
        in_name=False,
        formerly=("token_budget",),
    )
    activation_checkpointing: ActivationCheckpointing | None = setting(
        None,
        "What the backward pass recomputes to save memory; null = as little as free memory allows.",
        in_name=False,
        formerly=("recompute",),
    )
    liger: bool | None = setting(
        None,
        "Use the fused GPU kernels of liger-kernel; null = on a GPU if it is installed.",
        in_name=False,
    )
    num_gpus: int | None = setting(
        None,
        "GPUs that share each batch, with one process on each; null = launcher.gpus_per_job, or "
        "what torchrun started.",
        above=0,
        largest=4096,
        in_name=False,
        formerly=("gpus",),
    )
    fsdp: bool | None = setting(
        None,
        "Shard the base model over the GPUs (FSDP); null = only if it does not fit on one.",
        in_name=False,
        formerly=("shard_base",),
    )
    precision: Precision = setting(MISSING, "Number type of matrix products.")
    group_by_length: bool = setting(
        True,
        "Put rows of similar length into one batch, as QLoRA did; the loss curve then zigzags.",
    )
    log_every: int = setting(10, "Steps between log lines.", unit="steps", above=0, in_name=False)
    eval_every: int | None = setting(
        None,
        "Steps between evaluations; null = evaluate only before and after training.",
        unit="steps",
        above=0,
    )
    keep_best: str | None = setting(
        None,
        "Score by which the run keeps the weights of its best evaluation; null = keep the last "
        "weights.",
        since="0.2",
    )
    patience: int | None = setting(
        None,
        "Stop after this many evaluations without a better trainer.keep_best, by default "
        "heldout_loss; null = never.",
        unit="evaluations",
        above=0,
        largest=10**6,
        since="0.2",
    )
    eval_at_start: bool = setting(True, "Evaluate once before the first step.")
    save_every: int = setting(
        250, "Steps between checkpoints.", unit="steps", above=0, in_name=False
    )
    max_checkpoints: int = setting(
        2,
        "Checkpoints to keep; older ones are deleted.",
        unit="checkpoints",
        above=0,
        in_name=False,
        formerly=("keep_checkpoints",),
    )
