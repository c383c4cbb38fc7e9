"""TRL's SFTTrainer on the rows of PLACE: python trl_contender.py PLACE OUT PRECISION [SETTINGS].

SETTINGS is JSON: {"dropout": 0.1, "micro": rows or packs a forward pass, "packs": 512 ...}, else
those of SFTConfig.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from material import BATCH, RECIPE, Stopwatch, batches, load_base, lora, losses, report, sums
from peft import LoraConfig
from transformers import AutoTokenizer, set_seed
from trl import SFTConfig, SFTTrainer


def main(place, out, precision, settings="{}"):
    settings = {"dropout": 0.1, "micro": BATCH, "packs": None} | json.loads(settings)
    dropout, micro, packs = (settings.pop(name) for name in ("dropout", "micro", "packs"))
    rows = batches(place)
    set_seed(0)
    model = load_base(place, precision)
    # Tokenised already: its own tokenisation would merge prompt and response at their border.
    data = Dataset.from_list([{k: row[k] for k in ("input_ids", "labels")} for row in rows])
    stopwatch = Stopwatch()
    size = BATCH
    if packs:  # so many packs a step that a step has about 16 rows' tokens
        tokens = sum(len(row["input_ids"]) for row in rows)
        size = max(1, round(tokens / len(rows) * BATCH / packs))
        micro = min(micro, size)
        settings |= {"packing": True, "max_length": packs}
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=folder,
                **RECIPE,
                **{"max_length": None, "gradient_checkpointing": False} | settings,
                num_train_epochs=1,
                per_device_train_batch_size=micro,
                gradient_accumulation_steps=size // micro,
                bf16=precision == "bf16",
                use_cpu=not torch.cuda.is_available(),
            ),
            train_dataset=data,
            processing_class=AutoTokenizer.from_pretrained(place / "base"),
            peft_config=LoraConfig(target_modules="all-linear", **lora(dropout)),
            callbacks=[stopwatch],
        )
        trainer.train()
    lengths = [len(row["input_ids"]) for row in trainer.train_dataset]
    report(
        out,
        tokens=sums(lengths, size)[: len(stopwatch.seconds)],
        seconds=stopwatch.seconds,
        losses=losses(trainer),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
