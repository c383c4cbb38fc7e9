"""Print the cost of one run as tables in the terminal."""

from collections.abc import Callable

from rich.console import Console

from anima_exp.config import ActivationCheckpointing, Quantization
from anima_exp.display import console as screen
from anima_exp.display import tables
from anima_exp.display.tables import Column
from anima_exp.display.units import decimal_size, format_count, hours, size
from anima_exp.planner import gpus
from anima_exp.planner.cost import Cost
from anima_exp.planner.here import what_it_has
from anima_exp.planner.lengths import UPPER_BOUND, rows_in_all
from anima_exp.planner.memory import GIB, UNUSED
from anima_exp.planner.report_several import as_many_as_it_takes, every_way
from anima_exp.planner.report_several import notes as notes_of_several
from anima_exp.planner.speed import OnGpu
from anima_exp.planner.step_time import LAUNCH_SECONDS


def show(cost: Cost) -> None:
    console = screen.console
    screen.show_plan(_facts(cost))
    _titled(console, "Base model", _base(cost))
    _titled(console, "Static memory", _static(cost))
    for budget in cost.budgets:
        _titled(console, f"Memory with {budget:,} tokens per micro-batch ({_which(cost, budget)})",
                _dynamic(cost, budget))  # fmt: skip
    if cost.several:
        _titled(console, f"On {cost.num_gpus} GPUs: memory of each, and training time",
                every_way(cost))  # fmt: skip
    else:
        _titled(console, "On one GPU", _one_gpu_columns(cost))
    if cost.fewest:
        _titled(console, "On several GPUs, if one is too small", as_many_as_it_takes(cost))
    for line in _notes(cost):
        tables.say(console, line)


def _titled(console: Console, title: str, columns: list[Column]) -> None:
    console.print(tables.safe(title), style="bold")
    kept, left_out = tables.fitting(columns, console.width)
    console.print(tables.table(kept))
    if left_out:
        tables.say(console, f"the terminal is too narrow for: {', '.join(left_out)}", style="dim")
    console.print()


def _facts(cost: Cost) -> dict[str, str]:
    config, shape, rows = cost.config, cost.shape, cost.lengths
    block = shape.blocks[0]
    wide = max(one.outputs for one in block.linears)
    steps = "unknown" if cost.steps is None else f"{cost.steps:,}"
    facts = {
        "model": (
            f"{config.model.name}: {format_count(shape.parameters)} parameters, "
            f"{shape.layers} blocks, hidden size {shape.hidden:,}, widest layer {wide:,}, "
            f"vocabulary {shape.vocab:,}"
        ),
        "rows": (
            f"{config.data.name}: {rows.mean_tokens:,.0f} tokens on average, of which "
            f"{rows.mean_labels:,.0f} are trained on; at most {rows.largest.longest:,} "
            f"({rows.source})"
        ),
        "steps": (
            f"{steps} of {config.trainer.batch_size} rows, about {cost.tokens_per_step:,.0f} "
            f"tokens (at most {rows.largest.batch_tokens:,})"
        ),
    }
    if cost.tokens is not None:
        facts["tokens"] = ("at most " if rows.upper_bound else "") + format_count(cost.tokens)
        if rows.rows:
            passes = rows_in_all(config.trainer, rows.rows) / rows.rows
            facts["tokens"] += f", {passes:.2f} passes over {rows.rows:,} rows"
    without, with_full = (
        cost.flops(how).total
        for how in (ActivationCheckpointing.none, ActivationCheckpointing.full)
    )
    unit, power = ("GFLOP", 1e9) if without >= 1e8 else ("MFLOP", 1e6)
    facts[unit] = (
        f"{without / power:,.1f} per token, {with_full / power:,.1f} with full activation "
        "checkpointing"
    )
    return facts


def _base(cost: Cost) -> list[Column]:
    kinds = cost.needs.weights
    stored = cost.config.quant.type.value if cost.config.quant.type.value != "none" else "weights"
    return [
        Column("", [*(kind.kind for kind in kinds), "all"], right=False),
        Column("parameters", _summed([kind.elements for kind in kinds], format_count)),
        Column(
            f"{stored} or 16/32 bit" if cost.config.quant.is_4bit else stored,
            _summed([kind.values for kind in kinds], size),
        ),
        Column("constants", _summed([kind.first for kind in kinds], _size_or_none), dropped=2),
        Column(
            "their constants", _summed([kind.second for kind in kinds], _size_or_none), dropped=1
        ),
        Column("total", _summed([kind.total for kind in kinds], size)),
    ]


def _summed(counts: list[int], written: Callable[[float], str]) -> list[str]:
    return [written(count) for count in [*counts, sum(counts)]]


def _size_or_none(count: float) -> str:
    return size(count) if count else "-"


def _static(cost: Cost) -> list[Column]:
    found, config = (
        cost.needs.memory(1, ActivationCheckpointing.full, keep_dequantized=True),
        cost.config,
    )
    learns = found.trained
    parts = {"base": found.base}
    if not config.lora.is_full_finetune:
        parts[
            f"LoRA, {format_count(learns.parameters)} parameters in {config.lora.dtype.value}"
        ] = learns.weights
    if learns.copies:
        parts[f"a copy of the LoRA weights in {config.trainer.precision.value}, during a step"] = (
            learns.copies
        )
    parts["gradients"] = learns.gradients
    name = f"optimizer state, {config.optimizer.name.value}"
    if learns.pageable:
        name += f" ({size(learns.pageable)} of it can move to CPU memory)"
    parts[name] = learns.optimizer
    parts["all"] = sum(parts.values())
    if found.copy and config.quant.cache_dequantized is not False:
        copy = f"optional: 4-bit weights dequantized to {config.quant.compute_dtype.value}"
        parts[copy] = found.copy
    parts["CUDA and its libraries (assumed)"] = round(gpus.CONTEXT_GIB * GIB)
    return [Column("", list(parts), right=False), Column("", [size(n) for n in parts.values()])]


def _which(cost: Cost, budget: int) -> str:
    if cost.config.trainer.max_tokens_per_micro_batch:
        return "trainer.max_tokens_per_micro_batch"
    return "the longest row" if budget == cost.lengths.largest.longest else "the largest batch"


def _dynamic(cost: Cost, budget: int) -> list[Column]:
    given = cost.config.trainer.activation_checkpointing
    ways = [given] if given else list(ActivationCheckpointing)
    found = [cost.needs.memory(budget, how, keep_dequantized=False) for how in ways]
    return [
        Column("checkpointing", [how.value for how in ways], right=False),
        Column("activations", [size(one.activations.kept) for one in found]),
        Column("backward pass", [size(one.activations.working) for one in found], dropped=2),
        Column("or loss", [size(one.states + one.logits) for one in found], dropped=1),
        Column("peak", [size(one.peak + gpus.CONTEXT_GIB * GIB) for one in found]),
    ]


def _one_gpu_columns(cost: Cost) -> list[Column]:
    found = [*cost.on_gpus, *([cost.here] if cost.here else [])]
    rows = [_on_gpu(cost, one) for one in found]
    budgets, ways, copies, speeds = (list(texts) for texts in zip(*rows, strict=True))
    return [
        Column("", [one.gpu_type.name for one in found], right=False),
        Column("GB", [f"{one.gpu_type.memory_gb}" for one in found]),
        Column("fits", [_fits(one) for one in found], right=False),
        Column("token budget", budgets),
        Column("checkpointing", ways, right=False),
        Column("dequantized copy", copies, right=False, dropped=2),
        Column("peak", [size(one.peak) for one in found]),
        Column("tokens/s", speeds, dropped=1),
        Column("training", [hours(cost.hours_on(one)) for one in found]),
    ]


def _on_gpu(cost: Cost, one: OnGpu) -> tuple[str, str, str, str]:
    how = one.execution
    if not how.fits:
        return ("-", "-", "-", "-")
    copy = "yes" if how.keep_dequantized else "no"
    speed = "-"
    if one.seconds_per_step is not None:
        speed = f"{cost.tokens_per_step / one.seconds_per_step:,.0f}"
    return (f"{how.token_budget:,}", how.recompute.value, copy, speed)


def _fits(one: OnGpu) -> str:
    if not one.execution.fits:
        return "no"
    return "yes, paged" if one.execution.paged else "yes"


def _notes(cost: Cost) -> list[str]:
    notes = [
        "For comparison: full fine-tuning in 16 bits needs "
        f"{decimal_size(cost.full_fine_tuning)} for weights, gradients and optimizer states "
        "(12 bytes per parameter), before any activation.",
        "Hours are of training only. Hours and tokens/s are estimates, not measurements. They "
        f"assume that matrix products reach {gpus.PRODUCT_SHARE:.0%} of the GPU's nominal bf16 "
        f"speed, that all else reaches {gpus.BANDWIDTH_SHARE:.0%} of its bandwidth, and that the "
        f"CPU launches a kernel in {LAUNCH_SECONDS * 1e6:.0f} microseconds. A token budget that "
        f"the planner chooses leaves {UNUSED:.0%} of the memory that grows with it in reserve.",
    ]
    if cost.lengths.upper_bound:
        notes.append(f"{UPPER_BOUND} tokens and hours are at most these.")
    if cost.here and cost.here.seconds_per_step is None:
        notes.append(
            f"The speed of this machine ({what_it_has()}) is unknown: the planner has data only "
            "for the GPUs listed above it."
        )
    if waiting := [one.gpu_type.name for one in cost.on_gpus if one.by_launches]:
        notes.append(
            f"On {', '.join(waiting)} the CPU takes longer to launch the kernels of a step than "
            "the GPU takes to compute them, so larger micro-batches would take no longer there."
        )
    if cost.shape.active_experts and cost.config.quant.type is Quantization.int8:
        notes.insert(
            0,
            "quant=int8 cannot quantize this model's experts, because they are stacked tensors. "
            "The plan counts them in 16 bits, and a run refuses such a base model. Use quant=nf4.",
        )
    if not any(one.execution.fits for one in cost.on_gpus):
        where = (
            f"{cost.num_gpus} GPUs of any of these types" if cost.several else "any of these GPUs"
        )
        notes.insert(0, f"The run does not fit on {where}, however its settings let it execute.")
    return notes + notes_of_several(cost)
