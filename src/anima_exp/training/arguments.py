"""RunConfig -> transformers' TrainingArguments."""

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from anima_exp.config import OptimizerName, Precision, RunConfig

_OPTIMIZERS = {
    OptimizerName.paged_adamw_32bit: "paged_adamw_32bit",
    OptimizerName.paged_adamw_8bit: "paged_adamw_8bit",
    OptimizerName.adamw: "adamw_torch",
}


def training_arguments(config: RunConfig, *, steps: int, folder: Path) -> TrainingArguments:
    """How the Trainer should run `steps` optimizer steps, with checkpoints under `folder`.

    Evaluation, logging destinations and the row order are ours (trainer.py), so they are off here.
    """
    trainer, optimizer = config.trainer, config.optimizer
    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    return TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=trainer.micro_batch_size,
        gradient_accumulation_steps=trainer.batch_size // trainer.micro_batch_size,
        bf16=trainer.precision is Precision.bf16,
        fp16=trainer.precision is Precision.fp16,
        tf32=True if torch.cuda.is_available() else None,  # as qlora.py
        use_cpu=not torch.cuda.is_available(),
        **_checkpointing(trainer.gradient_checkpointing),
        optim=_OPTIMIZERS[optimizer.name],
        learning_rate=optimizer.learning_rate,
        lr_scheduler_type=optimizer.schedule.value,
        warmup_steps=int(optimizer.warmup_ratio * steps),
        weight_decay=optimizer.weight_decay,
        adam_beta1=optimizer.beta1,
        adam_beta2=optimizer.beta2,
        adam_epsilon=optimizer.epsilon,
        max_grad_norm=optimizer.max_grad_norm,
        logging_steps=trainer.log_every,
        logging_nan_inf_filter=False,  # a loss that is not finite must be seen
        save_strategy="steps",
        save_steps=trainer.save_every,
        save_total_limit=None,  # checkpoint.py prunes
        eval_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=config.seed,
        dataloader_num_workers=0,  # rows lie in memory-mapped arrays
    )


def _checkpointing(wanted: bool) -> dict[str, Any]:
    # transformers 5.2x renamed the argument and warns about the old name.
    known = TrainingArguments.__dataclass_fields__
    name = "activation" if "activation_checkpointing" in known else "gradient"
    return {
        f"{name}_checkpointing": wanted,
        f"{name}_checkpointing_kwargs": {"use_reentrant": False},
    }
