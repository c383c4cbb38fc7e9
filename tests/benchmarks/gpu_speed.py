"""Tokens a second, share of the card's peak and memory of QLoRA training at LLaMA's true shapes.

python tests/benchmarks/gpu_speed.py --shapes 7b 13b --lengths alpaca 512 --budgets 4096 8192 \\
    --recompute none full [--trl] [--profile] [key=value ...]

A line of the table is a whole run of this project, in which the weights are random, the rows
synthetic (true_shapes.py) and nothing is saved; key=value are its settings.
The share of the peak counts what training needs, not what is computed again. Without a GPU:
--device cpu --shapes small, where a peak is that of the process so far.
"""

import argparse
import contextlib
import gc
import itertools
import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from unittest.mock import patch

WARM_UP = 2
# What TRL's SFTTrainer can do with rows of different lengths (contenders/trl_contender.py).
TRL = {
    "padded": {},
    "padding-free": {"padding_free": True},
    "packed": {"packs": 2048, "micro": 1},
    "packed, checkpointing": {"packs": 2048, "micro": 1, "gradient_checkpointing": True},
}


def main(arguments=None):
    options = parsed(arguments)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks
    sys.path.insert(0, str(Path(__file__).parent / "contenders"))
    import torch
    from true_shapes import SHAPES, peak_tflops

    if unknown := set(options.shapes) - set(SHAPES):
        sys.exit(f"--shapes {' '.join(unknown)}: there are {', '.join(SHAPES)}.")
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    peak = options.peak or peak_tflops(name)
    print(f"{name}, {options.precision}, {options.batch} rows a step, peak {peak or '?'} TFLOP/s")
    print("| shape | rows | tokens a pass | recompute | tokens/s | of the peak | peak GiB | loss |")
    print("| --- | --- | ---: | --- | ---: | ---: | ---: | ---: |", flush=True)
    for shape, lengths in itertools.product(options.shapes, options.lengths):
        for budget, recompute in itertools.product(options.budgets, options.recompute):
            settings = [f"trainer.token_budget={budget}", f"trainer.recompute={recompute}"]
            cells = line(ours, options, shape, lengths, settings, peak=peak)
            print(f"| {shape} | {lengths} | {budget} | {recompute} | {cells} |", flush=True)
        for kind, how in TRL.items() if options.trl else ():
            cells = line(trl, options, shape, lengths, how, peak=peak)
            print(f"| {shape} | {lengths} | TRL, {kind} | | {cells} |", flush=True)


def line(contender, options, shape, lengths, settings, *, peak):
    """The right half of a line of the table: what was measured, or why nothing was."""
    import torch
    from material import peak_gib
    from true_shapes import flops, synthetic_rows

    from anima_exp.errors import AnimaError

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    rows = synthetic_rows(lengths, options.batch * options.steps)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            steps, lora_parameters = contender(options, shape, rows, settings)
    except (torch.OutOfMemoryError, AnimaError) as error:
        return f"{str(error).splitlines()[0]} | | |"
    pairs = list(zip(steps["tokens"], steps["seconds"], strict=True))
    rate = median(tokens / seconds for tokens, seconds in pairs[WARM_UP:] or pairs)
    needed = flops(
        shape, lora_parameters=lora_parameters, lengths=rows.lengths, label_counts=rows.label_counts
    )
    share = f"{needed / rows.lengths.sum() * rate / (peak * 1e12):.1%}" if peak else ""
    return f"{rate:,.0f} | {share} | {peak_gib():.2f} | {steps['losses'][-1]:.3f}"


def ours(options, shape, rows, settings):
    """One run of this project."""
    from material import composed
    from ours import steps_of
    from true_shapes import random_base

    from anima_exp.data.prepare import Counts, Prepared
    from anima_exp.experiment import run
    from anima_exp.model.base import DTYPES, device
    from anima_exp.results.record import Record
    from anima_exp.training.loop import Loop

    def load_base(*_, precision, **__):
        return random_base(shape, device=device(), dtype=DTYPES[precision])

    def prepare(*_, **__):
        tokens, labels = int(rows.lengths.sum()), int(rows.label_counts.sum())
        nothing = rows.__class__(rows.tokens, rows.order[:0], rows.limits)
        counts = Counts(len(rows), 0, len(rows), 0, 0, 0, 0, tokens, labels)
        return Prepared(rows, nothing, counts, fingerprint="synthetic")

    with (
        tempfile.TemporaryDirectory() as folder,
        patch("anima_exp.load_model.load_base", load_base),
        patch("anima_exp.load.prepare", prepare),
        patch("anima_exp.training.save.save"),
        patch.object(Loop, "_save"),
        patch.object(Loop, "_optimizer_step", profiled(Loop._optimizer_step, options.profile)),
    ):
        config = composed(
            [
                f"trainer.batch_size={options.batch}", f"trainer.steps={options.steps}",
                f"trainer.precision={options.precision}", "trainer.group_by_length=false",
                "trainer.log_every=1", "trainer.eval_every=null", "trainer.eval_at_start=false",
                "data.heldout_rows=0", "data.heldout_split=null", "evals=[]", "tracking=none",
                "lora.dropout=0.1", f"cache={folder}/cache", f"folder={folder}/run", *settings,
                *options.settings,
            ]
        )  # fmt: skip
        run(config)
        place = Path(folder, "run")
        return steps_of(place), Record.load(place).parameters["trainable"]


def trl(options, shape, rows, settings):
    """One pass of TRL's SFTTrainer."""
    import trl_contender
    from material import composed
    from true_shapes import random_base

    from anima_exp.config import Precision
    from anima_exp.model.base import DTYPES, device
    from anima_exp.model.tokenizer import load_tokenizer

    model = random_base(shape, device=device(), dtype=DTYPES[Precision(options.precision)])
    found = trl_contender.train(
        model,
        [rows[index] for index in range(len(rows))],
        load_tokenizer(composed([]).model),  # of the embedded tiny base: any will do
        options.precision,
        batch=options.batch,
        **settings,
    )
    return found, sum(one.numel() for one in model.parameters() if one.requires_grad)


def profiled(optimizer_step, wanted):
    """The loop's step, of which the last one is profiled and its ten largest kernels listed."""
    from torch.profiler import profile

    def with_profile(loop, batch):
        if not wanted or loop.done < loop.steps - 1:
            return optimizer_step(loop, batch)
        with profile() as found:
            result = optimizer_step(loop, batch)
        order = f"self_{loop.model.device.type}_time_total"
        print(found.key_averages().table(sort_by=order, row_limit=10), file=sys.stderr)
        return result

    return with_profile


def parsed(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--shapes", nargs="+", default=["7b", "13b", "33b", "65b"], help="or small")
    add("--lengths", nargs="+", default=["alpaca", "512"], help="alpaca, or tokens of every row")
    add("--budgets", nargs="+", default=["null"], help="null: what free memory allows")
    add("--recompute", nargs="+", default=["null"], help="none, selective, full, null")
    add("--batch", type=int, default=16)
    add("--steps", type=int, default=8, help=f"{WARM_UP} of them to warm up")
    add("--precision", default="bf16", choices=["bf16", "fp16", "fp32"])
    add("--device", default="auto", choices=["auto", "cpu"])
    add("--peak", type=float, help="the card's TFLOP/s, where it is not listed")
    add("--trl", action="store_true", help="TRL's SFTTrainer too")
    add("--profile", action="store_true", help="the ten largest kernels of our last step")
    add("settings", nargs="*", default=[], help="key=value of a run, for ours")
    return parser.parse_intermixed_args(arguments)


if __name__ == "__main__":
    main()
