"""Describe a run before it starts: rows, steps, data types and memory, in about ten lines."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anima_exp.config import LoraInit, LoraVariant, Quantization, RunConfig, lora_text
from anima_exp.config.data import GENERATED
from anima_exp.config.mixture import heldout_rows
from anima_exp.events import Plan, emit
from anima_exp.model.linear_layers import Parameters
from anima_exp.planner.execution import Execution, Placement
from anima_exp.results import training_report
from anima_exp.results.identity import flatten

if TYPE_CHECKING:
    from anima_exp.experiment.setup import Setup


@dataclass(frozen=True)
class Overview:
    """The data from which the overview of a run is made."""

    config: RunConfig
    folder: Path
    setup: "Setup"
    resumed_at: int | None
    processes: int = 1


def show(run: Overview) -> None:
    """Emit the overview of a run."""
    emit(Plan(overview_lines(run)))


def overview_lines(run: Overview) -> dict[str, str]:
    """Return the lines of the overview by their headings."""
    from anima_exp.model.base import slow_precision
    from anima_exp.model.hashed_dropout import own_dropout
    from anima_exp.model.varlen_attention import slow_attention

    config = run.config
    trainer, optimizer = config.trainer, config.optimizer
    lines = {
        "run": f"{run.folder}" + (f", resumed at step {run.resumed_at}" if run.resumed_at else ""),
        "base": (
            f"{config.model.source}, {_millions(run.setup.parameters.base)} parameters, "
            f"{_storage(config)}"
        ),
        "trains": _describe_trainable(config, run.setup.parameters),
        **_variant(config),
        **training_report.lines(run.setup.report),
        "data": _data(run),
        **_parts(run),
        **_chat(run),
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
        "evaluates": ", ".join(_evals(run)) or "nothing",
        "computes": _execution(run),
    }
    if chance := own_dropout(run.setup.model):
        lines["dropout"] = (
            f"the base model has its own dropout, up to {chance:g}, which stays on in training as "
            "in qlora.py. Unlike LoRA's dropout, it depends on trainer.max_tokens_per_micro_batch"
        )
    where = run.setup.model.device
    slow = (slow_precision(config.trainer.precision, where), slow_attention(where))
    if any(slow):
        lines["slow"] = "; ".join(filter(None, slow))
    return lines


def steps(count: int, batch_size: int, *, used: int, rows: int) -> str:
    """Describe how many steps a run takes, and how often it uses each of its `rows` rows.

    Args:
        used: the rows of all steps, including repeats.
    """
    last = used - (count - 1) * batch_size
    short = f" (the last has {last})" if last < batch_size else ""
    text = f"{count:,} of {batch_size} rows{short}, {used / rows:.2f} epochs"
    times, rest = divmod(used, rows)
    if used <= rows:
        return text
    return f"{text} (each row {times} {f'or {times + 1} ' if rest else ''}times)"


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
    double = " with double quantization" if config.quant.double_quant else ""
    return f"in {config.quant.type.value}{double}, computed in {config.quant.compute_dtype.value}"


def _describe_trainable(config: RunConfig, parameters: Parameters) -> str:
    count = f"{parameters.trainable:,} parameters, {100 * parameters.share:.2f} %"
    if config.lora.is_full_finetune:
        return f"every weight: {count}"
    lora, settings = config.lora, flatten(config)
    experts = ["experts"] if lora.experts else []
    layers = ", ".join((lora.modules or [lora.target_modules.value]) + experts)
    adapter = config.model.adapter
    continued = f"{adapter} continued, " if adapter else ""
    parts = [
        f"{continued}{lora_text.method(settings)} on {layers}",
        f"rank {lora.rank}",
        f"alpha {lora.alpha:g}",
        *lora_text.patterns(settings),
        f"dropout {lora.dropout:g}",
        f"in {lora.dtype.value}",
    ]
    if whole := lora_text.whole(settings):
        parts.append(f"with {whole} as a whole in fp32")
    return f"{', '.join(parts)}: {count}"


def _variant(config: RunConfig) -> dict[str, str]:
    """Describe what differs from plain LoRA, if anything does."""
    lines = {}
    if start := lora_text.start(flatten(config)):
        lines["starts"] = f"A and B from {start}"
        if config.lora.init in (LoraInit.pissa, LoraInit.olora):
            lines["starts"] += (
                ", which every layer subtracts. The base stays as it is, and the saved adapter has "
                "twice the rank"
            )
    if config.lora.variant is LoraVariant.dora:
        chance = (
            ". Its dropout is torch's, which depends on trainer.max_tokens_per_micro_batch"
            if config.lora.dropout
            else ""
        )
        lines["variant"] = f"DoRA on PEFT's own forward pass, {lora_text.SLOWER}{chance}"
    return lines


def _data(run: Overview) -> str:
    counts = run.setup.data.counts
    cut = counts.truncated_prompts + counts.truncated_responses
    parts = [f"{counts.train:,} training rows, {counts.heldout:,} held out"]
    if counts.skipped:
        parts.append(f"{counts.skipped:,} skipped")
    if run.setup.data.chat is None:
        parts.append(f"{cut:,} truncated" if cut else "none truncated")
    return f"{run.config.data.name}: {', '.join(parts)}"


def _parts(run: Overview) -> dict[str, str]:
    from anima_exp.data.part_counts import lines

    return lines(run.setup.data.parts)


def _chat(run: Overview) -> dict[str, str]:
    from anima_exp.data.chat.summary import lines

    chat = run.setup.data.chat
    return lines(chat.summary) if chat else {}


def _notes(run: Overview) -> dict[str, str]:
    notes: dict[str, str] = run.setup.data.notes
    if run.config.data.path is None and run.config.data.source in GENERATED:
        return {}  # the embedded sample: an unread column there is no mistake of the user
    return notes


def _tokens(run: Overview) -> int:
    mean = float(run.setup.data.train.lengths.mean())
    return int(mean * len(run.setup.order))


def _evals(run: Overview) -> list[str]:
    config, names = run.config, []
    if heldout_rows(config.data):
        names += ["heldout loss"] * bool(config.evals.heldout)
        names += ["exact match"] * bool(config.evals.exact_match and config.data.exact_answers)
    if config.evals.samples and config.evals.samples.prompts:
        names.append(f"{len(config.evals.samples.prompts)} sample answers")
    for name, ready in run.setup.evals.benchmarks.items():
        fewer = ready.without_some_examples
        cut = f" ({fewer:,} without some of their examples)" if fewer else ""
        names.append(f"{len(ready.questions):,} questions of {name}{cut}")
    if text := run.setup.evals.text:
        names.append(f"loss on {len(text.rows):,} rows of {text.name}")
    names += run.setup.evals.custom
    if names and config.trainer.eval_every:
        names[-1] += f"; every {config.trainer.eval_every} steps"
        if config.trainer.keep_best:
            names[-1] += f", keeping the weights with the best {config.trainer.keep_best}"
        if config.trainer.patience:
            names[-1] += f"; {config.trainer.patience} without improvement end the run"
    if config.evals.answers:
        names.append(f"answers to {config.evals.answers.questions} at the end")
    return names


def _execution(run: Overview) -> str:
    """Describe how a batch is computed, and the memory that is expected to be needed."""
    from anima_exp.model.varlen_attention import packing_obstacle

    how = run.setup.execution
    obstacle = packing_obstacle(run.setup.model)
    packed = f"at most {how.token_budget:,} tokens at once"
    parts = [f"row by row, because {obstacle}" if obstacle else packed]
    parts.append(f"activation checkpointing {how.recompute.value}")
    if run.processes > 1:
        own = "" if how.sharded else ", each with its own copy of the base"
        parts.insert(0, f"{run.processes} processes share a batch{own}")
    parts += describe_placement(run.config, how)
    if how.keep_dequantized:
        parts.append("a dequantized copy of the base")
    if how.paged:
        parts.append("paged optimizer states")
    need = how.predicted_peak_gib + run.setup.overhead_gib
    fits = "" if how.fits else ", which does not fit: see anima-exp plan"
    which = " in each process" if how.num_gpus > 1 else ""
    return f"{', '.join(parts)}; about {need:.2f} GiB{which}{fits}"


def describe_placement(config: RunConfig, how: Execution) -> list[str]:
    """Describe where the base is if it is not on one device."""
    needed = "" if config.model.device_map else ", because no single one can hold it"
    texts = {
        Placement.sharded: f"the base sharded over {how.num_gpus} processes",
        Placement.spread: (
            f"the base spread over {how.num_gpus} GPUs{needed}; one computes at a time"
        ),
    }
    return [texts[how.placement]] if how.placement in texts else []


def _millions(count: int) -> str:
    return f"{count / 1e9:.1f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"
