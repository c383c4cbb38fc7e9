"""Tokens a second, share of the card's peak and memory of QLoRA training at LLaMA's true shapes.

python tests/benchmarks/gpu_speed.py --shapes 7b 13b 33b --lengths alpaca 512 \\
    --budgets 4096 8192 --recompute none full [--trl] [--profile] [key=value ...]

The weights are random (true_shapes.py), the steps are our trainer's, and key=value are settings of
a run (trainer.compile=true, quant.keep_dequantized=false). Each line of the table has a model of
its own. The share of the peak counts what the training needs, not what is recomputed. Without a
GPU: --device cpu --shapes small.
"""

import argparse
import gc
import itertools
import os
import sys
import tempfile
from pathlib import Path
from statistics import median

WARM_UP = 2
HEAD = [
    "| shape | rows | tokens a pass | recompute | tokens/s | of the peak | peak GiB | loss |",
    "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: |",
]


def main(arguments=None):
    options = parsed(arguments)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks
    sys.path.insert(0, str(Path(__file__).parent / "contenders"))
    import torch
    from true_shapes import SHAPES

    if unknown := set(options.shapes) - set(SHAPES):
        sys.exit(f"--shapes {' '.join(unknown)}: there are {', '.join(SHAPES)}.")
    peak = options.peak or _peak()
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{name}, {options.precision}, {options.batch} rows a step, peak {peak or '?'} TFLOP/s")
    print("\n".join(HEAD), flush=True)
    cells = itertools.product(options.shapes, options.lengths, options.budgets, options.recompute)
    for shape, lengths, budget, recompute in cells:
        settings = [f"trainer.token_budget={budget}", f"trainer.recompute={recompute}"]
        label = f"| {shape} | {lengths} | {budget} | {recompute} |"
        line(label, lambda: ours(options, shape, lengths, settings), shape, peak)  # noqa: B023
    if options.trl:
        for shape, lengths in itertools.product(options.shapes, options.lengths):
            for kind, how in TRL.items():
                label = f"| {shape} | {lengths} | TRL, {kind} | |"
                line(label, lambda: trl(options, shape, lengths, how), shape, peak)  # noqa: B023


def line(label, work, shape, peak):
    """Print what `work` measured, or that it did not fit."""
    import torch
    from material import peak_gib
    from true_shapes import flops

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        found = work()
    except torch.OutOfMemoryError:
        print(f"{label} out of memory | | | |", flush=True)
        return
    share = ""
    if peak:
        needed = flops(
            shape, lora_parameters=found["lora"], lengths=found["lengths"],
            label_counts=found["label_counts"],
        )  # fmt: skip
        share = f"{needed / found['lengths'].sum() * found['rate'] / (peak * 1e12):.1%}"
    print(
        f"{label} {found['rate']:,.0f} | {share} | {peak_gib():.2f} | {found['loss']:.3f} |",
        flush=True,
    )


def ours(options, shape, lengths, settings):
    from material import composed
    from true_shapes import SyntheticRows, random_base

    import anima_exp.model.base as base
    from anima_exp.model.adapter import attach
    from anima_exp.model.tokenizer import load_tokenizer
    from anima_exp.training.order import row_order
    from anima_exp.training.trainer import QLoraTrainer

    config = composed(
        [
            f"trainer.batch_size={options.batch}", f"trainer.steps={options.steps}",
            f"trainer.precision={options.precision}", "trainer.log_every=1", "evals=[]",
            "trainer.eval_every=null", "tracking=none", *settings, *options.settings,
        ]
    )  # fmt: skip
    rows = SyntheticRows(lengths, options.batch * options.steps)
    dtype = base.DTYPES[config.trainer.precision]
    model = attach(random_base(shape, device=base.device(), dtype=dtype), config.lora)
    order = row_order(
        rows.lengths, rows=len(rows), batch_size=options.batch, seed=0, group_by_length=False
    )
    log = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = QLoraTrainer(
            model=model, tokenizer=load_tokenizer(config.model), rows=rows, order=order,
            config=config, folder=Path(folder), log=log.append, evaluate=lambda step: None,
            callbacks=[without_saving(), *profiling(options)],
        )  # fmt: skip
        trainer.train_from(None)
    return {
        "rate": median(row["tokens_per_second"] for row in log[WARM_UP:]),
        "loss": log[-1]["loss"],
        **facts(model, rows),
    }


# What SFTTrainer can do with rows of different lengths; its own checkpointing comes by
# gradient_checkpointing.
TRL = {
    "padded": {},
    "padding-free": {"padding_free": True},
    "packed": {"packs": 2048, "micro": 1},
    "packed, checkpointing": {"packs": 2048, "micro": 1, "gradient_checkpointing": True},
}


def trl(options, shape, lengths, how):
    import trl_contender
    from true_shapes import SyntheticRows, random_base

    import anima_exp.model.base as base
    from anima_exp.config import Precision
    from anima_exp.model.tokenizer import load_tokenizer

    rows = SyntheticRows(lengths, options.batch * options.steps)
    dtype = base.DTYPES[Precision(options.precision)]
    model = random_base(shape, device=base.device(), dtype=dtype)
    tokenizer = load_tokenizer(composed_model())
    steps = trl_contender.train(
        model, [rows[index] for index in range(len(rows))], tokenizer, options.precision,
        batch=options.batch, **how,
    )  # fmt: skip
    pairs = zip(steps["tokens"], steps["seconds"], strict=True)
    return {
        "rate": median(tokens / seconds for tokens, seconds in list(pairs)[WARM_UP:]),
        "loss": steps["losses"][-1],
        **facts(model, rows),
    }


def composed_model():
    from material import composed

    return composed([]).model  # the embedded tiny base: any tokenizer will do


def facts(model, rows):
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    return {"lora": trained, "lengths": rows.lengths, "label_counts": rows.label_counts}


def without_saving():
    from transformers import TrainerCallback

    class WithoutSaving(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            control.should_save = False  # the Trainer would save after the last step

    return WithoutSaving()


def profiling(options):
    """A callback that profiles the last step and lists its ten largest kernels; or nothing."""
    if not options.profile:
        return []
    import torch
    from torch.profiler import profile
    from transformers import TrainerCallback

    on_gpu = torch.cuda.is_available()

    class Profile(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if state.global_step == state.max_steps - 1:
                self.profile = profile()
                self.profile.start()

        def on_train_end(self, args, state, control, **_):
            self.profile.stop()
            order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
            found = self.profile.key_averages().table(sort_by=order, row_limit=10)
            print(found, file=sys.stderr)

    return [Profile()]


def parsed(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--shapes", nargs="+", default=["7b", "13b", "33b", "65b"], help="small, 7b, 13b, 33b, 65b")
    add("--lengths", nargs="+", default=["alpaca", "512"], help="alpaca, or tokens of every row")
    add("--budgets", nargs="+", default=["null"], help="null: what free memory allows")
    add("--recompute", nargs="+", default=["null"], help="none, selective, full, null")
    add("--batch", type=int, default=16)
    add("--steps", type=int, default=8, help=f"{WARM_UP} of them to warm up")
    add("--precision", default="bf16", choices=["bf16", "fp16", "fp32"])
    add("--device", default="auto", choices=["auto", "cpu"])
    add("--peak", type=float, help="the card's TFLOP/s, where it is not listed")
    add("--trl", action="store_true", help="TRL's SFTTrainer too")
    add("--profile", action="store_true", help="the ten largest kernels of the last step")
    add("settings", nargs="*", help="key=value of a run, for ours")
    return parser.parse_args(arguments)


def _peak():
    import torch
    from true_shapes import peak_tflops

    return peak_tflops(torch.cuda.get_device_name()) if torch.cuda.is_available() else None


if __name__ == "__main__":
    main()
