"""TRL's SFTTrainer on the rows of PLACE: python trl_contender.py PLACE OUT PRECISION [SETTINGS].

SETTINGS is JSON: those of `train`, else those of SFTConfig.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from material import BATCH, RECIPE, Stopwatch, batches, load_base, lora, losses, report, sums
from peft import LoraConfig
from transformers import AutoTokenizer, PrinterCallback, set_seed
from trl import SFTConfig, SFTTrainer


def train(
    model, rows, tokenizer, precision, *, batch=BATCH, dropout=0.1, micro=None, packs=None, **config
):
    """One pass over `rows`; tokens, seconds and loss of each step.

    Args:
        micro: rows, or packs, in one forward pass; default: all of a step.
        packs: pack the rows into sequences of so many tokens.
        config: of SFTConfig. Its loss has no setting to try: in 1.16 it never builds full logits.
    """
    stopwatch = Stopwatch()
    size = batch
    if packs:  # so many a step that it has about as many tokens as the rows of a batch
        tokens = sum(len(row["input_ids"]) for row in rows) * batch // len(rows)
        packs = min(packs, tokens)
        size = round(tokens / packs)
        config |= {"packing": True, "max_length": packs}
    micro = min(micro or size, size)
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=folder,
                **RECIPE,
                # Its default, checkpointing, is slower.
                **{"max_length": None, "gradient_checkpointing": False} | config,
                num_train_epochs=1,
                per_device_train_batch_size=micro,
                gradient_accumulation_steps=size // micro,
                bf16=precision == "bf16",
                use_cpu=not torch.cuda.is_available(),
            ),
            # Tokenized already: it would merge prompt and response at their border.
            train_dataset=Dataset.from_list(
                [{name: row[name] for name in ("input_ids", "labels")} for row in rows]
            ),
            processing_class=tokenizer,
            peft_config=LoraConfig(target_modules="all-linear", **lora(dropout)),
            callbacks=[stopwatch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    lengths = [len(row["input_ids"]) for row in trainer.train_dataset]
    return dict(
        tokens=sums(lengths, size)[: len(stopwatch.seconds)],
        seconds=stopwatch.seconds,
        losses=losses(trainer),
    )


def main(place, out, precision, settings="{}"):
    set_seed(0)
    model = load_base(place, precision)
    tokenizer = AutoTokenizer.from_pretrained(place / "base")
    report(out, **train(model, batches(place), tokenizer, precision, **json.loads(settings)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
