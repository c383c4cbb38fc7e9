"""What every contender trains on: a random LLaMA, Alpaca's rows in one order, and a stopwatch."""

import json
import random
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

import hydra
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from anima_exp.cli.compose import parse, register_schema
from anima_exp.system.paths import shipped

BATCH = 16
SHAPE = dict(
    hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4,
    max_position_embeddings=2048,
)  # fmt: skip
# The recipe of all contenders, as transformers and PEFT name it; ours has the same by default.
RECIPE = dict(
    optim="adamw_torch",
    learning_rate=2e-4,
    lr_scheduler_type="constant",
    max_grad_norm=0.3,
    train_sampling_strategy="sequential",
    logging_steps=1,
    save_strategy="no",
    report_to=[],
    disable_tqdm=True,
    seed=0,
)


def lora(dropout):
    return dict(r=64, lora_alpha=16, lora_dropout=dropout, bias="none", task_type="CAUSAL_LM")


def make(place, rows_file, tokenizer, *, steps):
    """Write base/, rows.json (Alpaca's columns) and batches.jsonl into `place`.

    batches.jsonl holds prompt, response, input_ids and labels of each row, in the order in which
    our trainer takes them; the others follow it.
    """
    from anima_exp.data import recipes
    from anima_exp.data.dataset import prepare
    from anima_exp.model.tokenizer import load_tokenizer
    from anima_exp.training.data_order import row_order

    source = json.loads(Path(rows_file).read_text(encoding="utf-8"))
    chosen = random.Random(0).sample([row for row in source if row["output"]], steps * BATCH)
    (place / "rows.json").write_text(json.dumps(chosen), encoding="utf-8")
    config = composed(ours(place, steps=steps))
    ready = load_tokenizer(replace(config.model, source=str(tokenizer)))
    ready.save_pretrained(place / "base")
    save_base(place / "base", vocabulary=len(ready))
    rows = prepare(config.data, ready, cache=place / "cache").train
    order = row_order(
        rows.lengths, rows=len(rows), batch_size=BATCH, seed=0, group_by_length=False
    )  # fmt: skip
    with (place / "batches.jsonl").open("w", encoding="utf-8") as file:
        for index in order:
            row = {name: ids.tolist() for name, ids in rows[index].items()}
            source_row = rows.tokens.rows[rows.order[index]] - 1  # counted from 1
            example = recipes.alpaca(chosen[source_row])
            file.write(json.dumps({**row, **vars(example)}) + "\n")


def ours(place, *, steps):
    """The command line of our contender."""
    return [
        "model=local", f"model.source={place}/base", "data=local", f"data.path={place}/rows.json",
        "data.max_prompt_tokens=384", "data.max_response_tokens=128", "data.heldout_rows=0",
        "optimizer=adamw", f"trainer.batch_size={BATCH}", f"trainer.max_steps={steps}",
        "trainer.group_by_length=false", "trainer.log_every=1", "evals=[]",
        "trainer.eval_at_start=false", "trainer.eval_every=null", "tracking=none",
        f"cache_dir={place}/cache",
    ]  # fmt: skip


def composed(overrides):
    register_schema()
    with hydra.initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        return parse(hydra.compose("train", overrides=overrides))


def save_base(folder, *, vocabulary):
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **SHAPE)).save_pretrained(folder)


def load_base(place, precision):
    """In NF4 with double quantization, as a user of transformers loads it."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    return AutoModelForCausalLM.from_pretrained(
        place / "base",
        dtype=dtype,
        device_map={"": 0 if torch.cuda.is_available() else "cpu"},
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        ),
    )


def batches(place):
    with (place / "batches.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class Stopwatch(TrainerCallback):
    """Seconds from the end of one optimizer step to the end of the next."""

    def __init__(self):
        self.seconds = []

    def on_train_begin(self, *_, **__):
        self.last = time.perf_counter()

    def on_step_end(self, *_, **__):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds.append(now - self.last)
        self.last = now


def report(file, *, tokens, seconds, losses):
    """Write what a contender measured, by step; `tokens` are without padding."""
    found = dict(tokens=tokens, seconds=seconds, losses=losses, memory_gib=peak_gib())
    Path(file).write_text(json.dumps(found), encoding="utf-8")


def peak_gib():
    """Of the GPU if there is one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def sums(lengths, size):
    """Tokens of each optimizer step."""
    return [sum(lengths[start : start + size]) for start in range(0, len(lengths), size)]


def losses(trainer):
    return [row["loss"] for row in trainer.state.log_history if "loss" in row]


if __name__ == "__main__":
    folder, tokenizer_name, count = sys.argv[2:]
    make(Path(sys.argv[1]), Path(folder) / "alpaca_data.json", tokenizer_name, steps=int(count))
