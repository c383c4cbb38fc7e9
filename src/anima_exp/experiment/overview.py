"""A run that is about to start -> what it will do, in ten lines: rows, steps, dtypes, memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anima_exp.config import Quantization, RunConfig
from anima_exp.events import Plan, emit
from anima_exp.model.linear_layers import Parameters
from anima_exp.planner.execution import Execution, Placement


@dataclass(frozen=True)
class Overview:
    config: RunConfig
    folder: Path
    setup: Any  # load.Setup
    resumed_at: int | None
    processes: int = 1


def show(run: Overview) -> None:
    emit(Plan(lines(run)))


def lines(run: Overview) -> dict[str, str]:
    """What to say, by its heading."""
    from anima_exp.model.base import slow_precision
    from anima_exp.model.hashed_dropout import own_dropout
    from anima_exp.model.varlen_attention import slow_attention

    config = run.config
    trainer, optimizer = config.trainer, config.optimizer
    told = {
        "run": f"{run.folder}" + (f", from step {run.resumed_at}" if run.resumed_at else ""),
        "base": (
            f"{config.model.source}, {_millions(run.setup.parameters.base)} parameters, "
            f"{_storage(config)}"
        ),
        "learns": _learns(config, run.setup.parameters),
        "data": _data(run),
        **_notes(run),
        "steps": steps(
            run.setup.steps,
            trainer.batch_size,
            used=len(run.setup.order),
            rows=len(run.setup.data.train),
        )
        + f", about {_tokens(run):,} tokens",
        "optimizer": (
            f"{optimizer.name.value}, learning rate {optimizer.learning_rate:g} "
            f"{optimizer.schedule.value}, clipping at {optimizer.max_grad_norm:g}, "
            f"{_optimizer_more(config)}seed {config.seed}"
        ),
        "measures": ", ".join(_evals(run)) or "nothing",
        "executes": _execution(run),
    }
    if chance := own_dropout(run.setup.model):
        told["dropout"] = (
            f"the base has dropout of its own, up to {chance:g}, which stays on in training as in "
            "qlora.py; unlike LoRA's it changes with trainer.max_tokens_per_micro_batch"
        )
    where = run.setup.model.device
    slow = (slow_precision(config.trainer.precision, where), slow_attention(where))
    if any(slow):
        told["slow"] = "; ".join(filter(None, slow))
    return told


def steps(count: int, batch_size: int, *, used: int, rows: int) -> str:
    """Say how many steps a run takes, and how often it uses each of its `rows` rows.

    Args:
        used: rows of all steps together, repeats counted.
    """
    last = used - (count - 1) * batch_size
    short = f" (the last of {last})" if last < batch_size else ""
    told = f"{count:,} of {batch_size} rows{short}, {used / rows:.2f} passes"
    least, rest = divmod(used, rows)
    if used <= rows:
        return told
    return f"{told} (each row {least} {f'or {least + 1} ' if rest else ''}times)"


def _optimizer_more(config: RunConfig) -> str:
    ratio = config.optimizer.lora_plus_ratio
    return f"LoRA+ with {ratio:g} times the rate for B, " if ratio else ""


def _storage(config: RunConfig) -> str:
    if config.lora.is_full_finetune:
        return f"in fp32, computed in {config.trainer.precision.value}"
    if config.quant.type is Quantization.none:
        return f"in {config.trainer.precision.value}"
    if config.quant.type is Quantization.int8:
        return "in int8, computed in int8 and fp16"
    double = " with double quantisation" if config.quant.double_quant else ""
    return f"in {config.quant.type.value}{double}, computed in {config.quant.compute_dtype.value}"


def _learns(config: RunConfig, parameters: Parameters) -> str:
    share = f"{parameters.trainable:,} parameters, {100 * parameters.share:.2f} %"
    if config.lora.is_full_finetune:
        return f"every weight: {share}"
    lora = config.lora
    layers = ", ".join(lora.layers or [lora.target_modules.value])
    adapter = config.model.adapter
    begun = f"{adapter} trained further, " if adapter else ""
    return (
        f"{begun}LoRA on {layers}, rank {lora.rank}, alpha {lora.alpha:g}, "
        f"dropout {lora.dropout:g}, in {lora.dtype.value}: {share}"
    )


def _data(run: Overview) -> str:
    counts = run.setup.data.counts
    cut = counts.truncated_prompts + counts.truncated_responses
    parts = [f"{counts.train:,} rows to learn from, {counts.heldout:,} set aside"]
    if counts.skipped:
        parts.append(f"{counts.skipped:,} skipped")
    parts.append(f"{cut:,} truncated" if cut else "none truncated")
    return f"{run.config.data.name}: {', '.join(parts)}"


def _notes(run: Overview) -> dict[str, str]:
    notes: dict[str, str] = run.setup.data.notes
    if run.config.data.path is None and run.config.data.source == "sample":
        return {}  # our own rows: a column that is not read there is none of the user's
    return notes


def _tokens(run: Overview) -> int:
    mean = float(run.setup.data.train.lengths.mean())
    return int(mean * len(run.setup.order))


def _evals(run: Overview) -> list[str]:
    config, names = run.config, []
    if config.data.heldout_rows:
        names += ["heldout loss"] * bool(config.evals.heldout)
        names += ["exact match"] * bool(config.evals.exact_match and config.data.exact_answers)
    if config.evals.samples and config.evals.samples.prompts:
        names.append(f"{len(config.evals.samples.prompts)} sample answers")
    for name, ready in run.setup.evals.benchmarks.items():
        fewer = ready.without_some_examples
        cut = f" ({fewer:,} without some of their examples)" if fewer else ""
        names.append(f"{len(ready.asked):,} questions of {name}{cut}")
    names += run.setup.evals.custom
    if names and config.trainer.eval_every:
        names[-1] += f"; every {config.trainer.eval_every} steps"
        if config.trainer.keep_best:
            names[-1] += f", of which the best {config.trainer.keep_best} is kept"
        if config.trainer.patience:
            names[-1] += f"; {config.trainer.patience} without a gain end the run"
    if config.evals.answers:
        names.append(f"answers to {config.evals.answers.questions} at the end")
    return names


def _execution(run: Overview) -> str:
    """How a batch is computed, and the memory that this is thought to need."""
    from anima_exp.model.varlen_attention import supports_packing

    how = run.setup.execution
    together = supports_packing(run.setup.model)
    alone = "row by row, as this architecture would let rows see each other"
    parts = [f"at most {how.token_budget:,} tokens at once" if together else alone]
    parts.append(f"recomputing {how.recompute.value}")
    if run.processes > 1:
        own = "" if how.sharded else ", each with a base of its own"
        parts.insert(0, f"{run.processes} processes share a batch{own}")
    parts += where(run.config, how)
    if how.keep_dequantized:
        parts.append("the base dequantised beside it")
    if how.paged:
        parts.append("optimizer states paged")
    need = how.predicted_peak_gib + run.setup.overhead_gib
    fits = "" if how.fits else ", which does not fit: see python -m anima_exp.plan"
    which = " in each process" if how.num_gpus > 1 else ""
    return f"{', '.join(parts)}; about {need:.2f} GiB{which}{fits}"


def where(config: RunConfig, how: Execution) -> list[str]:
    """What to say of a base that is not whole on one device."""
    needed = "" if config.model.device_map else ", as no single one holds it"
    told = {
        Placement.sharded: f"the base split over {how.num_gpus} processes",
        Placement.spread: (
            f"the base spread over {how.num_gpus} GPUs{needed}, one computing at a time"
        ),
    }
    return [told[how.placement]] if how.placement in told else []


def _millions(count: int) -> str:
    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"
