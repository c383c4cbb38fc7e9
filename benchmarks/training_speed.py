"""Tokens a second of QLoRA training: this project, TRL's SFTTrainer, and the original's way.

python benchmarks/training_speed.py FOLDER TOKENIZER [--precision bf16] [--steps 10]

FOLDER has Stanford Alpaca's alpaca_data.json, TOKENIZER is LLaMA's (a folder or hub id). Every
contender trains the same 4-layer, 256-wide LLaMA in NF4 with double quantization and LoRA of rank
64 on the same 16 rows a step, in a process of its own, one after the other (contenders/). Counted
are tokens without padding, after two steps to warm up; memory is the GPU's peak if there is one,
else the process's. On a CPU bf16 is a fair question only to one that computes in it (AVX512-BF16,
AMX): without them some of torch's products take 70 times as long as in fp32.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent / "contenders"
WARM_UP = 2
# Of TRL's settings (contenders/trl_contender.py) those that were fastest in fp32 on a CPU. Tried
# (tokens per second of CPU time): padded, a pass of 1 row 177, 4 rows 117; padding-free, 2
# rows 176, 4 rows 182, 16 rows 157; packs of 512 tokens 166; of 256, which cut long rows, 188.
# There its loss reads the head at every position, on a GPU at the labels only; no setting changes
# that. On a CPU padding-free and packed rows are kept apart by transformers' own mask.
CONTENDERS = {
    "ours": ("ours.py", {}),
    "TRL, padded": ("trl_contender.py", {"micro": 1}),
    "TRL, padding-free": ("trl_contender.py", {"padding_free": True, "micro": 4}),
    "TRL, packed": ("trl_contender.py", {"packs": 512, "micro": 1}),
    "the original's way": ("original_contender.py", {}),
}


def measured(place, name, precision, options):
    """What the contender reports, or what it died of."""
    script, settings = CONTENDERS[name]
    out = place / "found.json"
    out.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, HERE / script, place, out, precision,
         json.dumps(settings | {"dropout": options.dropout})],
        capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(options.threads)},
    )  # fmt: skip
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [str(done.returncode)])[-1]}
    return json.loads(out.read_text(encoding="utf-8"))


def summary(found):
    pairs = list(zip(found["tokens"], found["seconds"], strict=True))[WARM_UP:]
    return {
        "rate": median(tokens / seconds for tokens, seconds in pairs),
        "memory": found["memory_gib"],
        "loss": found["losses"][-1],
    }


def table(results):
    """Markdown; `ours is` says how many times faster ours is in the same precision."""
    lines = [
        "| | precision | tokens/s | peak GiB | loss of the last step | ours is |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for (name, precision), found in results.items():
        if "failed" in found:
            lines.append(f"| {name} | {precision} | {found['failed']} | | | |")
            continue
        one = summary(found)
        reference = results.get(("ours", precision), {"failed": ""})
        times = "" if "failed" in reference else f"{summary(reference)['rate'] / one['rate']:.2f} x"
        # A packed step holds other rows, so its loss compares with none.
        loss = "other rows" if "packs" in CONTENDERS[name][1] else f"{one['loss']:.4f}"
        measured_here = f"{one['rate']:,.0f} | {one['memory']:.2f} | {loss} | {times}"
        lines.append(f"| {name} | {precision} | {measured_here} |")
    return "\n".join(lines)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="with Stanford Alpaca's alpaca_data.json")
    parser.add_argument("tokenizer", nargs="?", help="LLaMA's: a folder or hub id")
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=["fp32", "bf16"])
    parser.add_argument("--steps", type=int, default=10, help=f"{WARM_UP} of them to warm up")
    parser.add_argument("--dropout", type=float, default=0.1, help="0 makes losses comparable")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    options = parser.parse_args()
    if not (options.folder and options.tokenizer):
        parser.error(
            "give FOLDER (with Stanford Alpaca's alpaca_data.json) and TOKENIZER (LLaMA's): "
            "make bench FOLDER=... TOKENIZER=..."
        )
    if not (Path(options.folder) / "alpaca_data.json").is_file():
        parser.error(f"{options.folder} has no alpaca_data.json.")
    return options


def main():
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        subprocess.run(
            [sys.executable, HERE / "material.py", place, options.folder, options.tokenizer,
             str(options.steps)],
            check=True,
        )  # fmt: skip
        results = {}
        for precision in options.precision:
            for name in options.only:
                results[name, precision] = measured(place, name, precision, options)
                print(f"{name}, {precision}: done", file=sys.stderr)
    print(f"{options.threads} threads, median of {options.steps - WARM_UP} steps of 16 rows")
    print(table(results))


if __name__ == "__main__":
    main()
