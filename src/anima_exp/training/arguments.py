"""RunConfig -> transformers' TrainingArguments."""

import logging
import math
from pathlib import Path

import torch

from anima_exp.config import OptimizerName, Precision, RunConfig
from anima_exp.training.libraries import TrainingArguments

_OPTIMIZERS = {
    OptimizerName.paged_adamw_32bit: "paged_adamw_32bit",
    OptimizerName.paged_adamw_8bit: "paged_adamw_8bit",
    OptimizerName.adamw: "adamw_torch_fused",
}


def training_arguments(config: RunConfig, *, steps: int, folder: Path) -> TrainingArguments:
    """How the Trainer should run `steps` optimizer steps, with checkpoints under `folder`.

    Evaluation, logging destinations and the row order are ours (trainer.py), so they are off here.
    """
    trainer, optimizer = config.trainer, config.optimizer
    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=trainer.batch_size,  # step.py cuts it into micro-batches
        bf16=trainer.precision is Precision.bf16,
        fp16=trainer.precision is Precision.fp16,
        tf32=_has_tf32() or None,  # as qlora.py
        use_cpu=not torch.cuda.is_available(),
        optim=_OPTIMIZERS[optimizer.name],
        learning_rate=optimizer.learning_rate,
        lr_scheduler_type=optimizer.schedule.value,
        warmup_steps=math.ceil(optimizer.warmup_ratio * steps),
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
    # A process that sees several GPUs would be wrapped in torch's DataParallel, which multiplies
    # the batch and cannot hold a 4-bit base. One process, one GPU (or a device map).
    arguments._setup_devices  # noqa: B018 - counts the GPUs, once
    arguments._n_gpu = min(arguments._n_gpu, 1)
    return arguments


def _has_tf32() -> bool:
    return torch.cuda.is_available() and torch.cuda.get_device_capability()[0] >= 8
