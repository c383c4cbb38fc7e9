"""Tokens a second of one process and of several that share a batch, each with one thread.

python benchmarks/several_processes.py [PROCESSES] [STARTS]

The model is LLaMA's kind with 4 layers of width 256 and random weights, in NF4: large enough that
a step is computing, small enough for a CPU. Starts of one and of several alternate.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

SETTINGS = [
    "data.max_rows=512", "data.heldout_rows=0", "evals=[]", "trainer.eval_at_start=false",
    "trainer.max_steps=12", "trainer.batch_size=64", "trainer.log_every=4",
    "trainer.save_every=1000",
    "trainer.eval_every=null", "trainer.precision=fp32", "tracking=none",
    "quant.cache_quantized=false",
]  # fmt: skip


def make_base(folder: Path) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from anima_exp.system.paths import tiny_base

    tokenizer = AutoTokenizer.from_pretrained(str(tiny_base()))
    torch.manual_seed(0)
    shape = LlamaConfig(
        hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4,
        vocab_size=len(tokenizer), max_position_embeddings=512,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def tokens_per_second(base: Path, processes: int) -> tuple[float, list[float]]:
    """Of the last eight steps, by the program's own figures; and the losses."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "anima_exp.train", "model=local", f"model.source={base}",
             *SETTINGS, f"run_dir={folder}/run", f"trainer.num_gpus={processes}"],
            check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        lines = Path(folder, "run/metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if "loss" in row]
    speeds = [row["tokens_per_second"] for row in rows if row["step"] > 4]
    return sum(speeds) / len(speeds), [row["loss"] for row in rows]


def main() -> None:
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    starts = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory() as folder:
        make_base(Path(folder))
        ratios = []
        for _ in range(starts):
            (one, losses), (several, same) = (
                tokens_per_second(Path(folder), count) for count in (1, processes)
            )
            ratios.append(several / one)
            apart = max(abs(a - b) for a, b in zip(losses, same, strict=True))
            print(
                f"one process {one:,.0f} tokens/s, {processes} together {several:,.0f}: "
                f"{several / one:.2f} x; losses at most {apart:.1e} apart"
            )
        print(f"median {median(ratios):.2f} x of {processes}")


if __name__ == "__main__":
    main()
