"""What the training loop takes from transformers, whose Trainer imports peft and bitsandbytes."""

from anima_exp.libraries.bitsandbytes_internals import import_bitsandbytes

import_bitsandbytes()

from transformers import (  # noqa: E402 - the Trainer imports bitsandbytes by itself
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

__all__ = ["PrinterCallback", "Trainer", "TrainerCallback", "TrainingArguments", "set_seed"]
