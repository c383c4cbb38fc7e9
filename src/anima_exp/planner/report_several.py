"""Make the tables of a plan for several GPUs."""

from anima_exp.display.tables import Column
from anima_exp.display.units import hours, size
from anima_exp.planner import gpus
from anima_exp.planner.cost import Cost
from anima_exp.planner.speed import OnGpu

_NAMES = {"whole": "a copy on each", "sharded": "sharded", "spread": "device map"}


def every_way(cost: Cost) -> list[Column]:
    """Return the columns with memory and hours of each placement, and the one a run chooses."""
    found, taken = cost.several, cost.on_gpus
    return [
        Column("", [one.gpu_type.name for one in taken], right=False),
        Column("GB", [f"{one.gpu_type.memory_gb}" for one in taken]),
        Column(_NAMES["whole"], [_memory_and_hours(cost, one.copies) for one in found]),
        Column(_NAMES["sharded"], [_memory_and_hours(cost, one.sharded) for one in found]),
        Column(_NAMES["spread"], [_memory_and_hours(cost, one.spread) for one in found]),
        Column("chosen", [_chosen(one) for one in taken], right=False),
        Column("token budget", [_budget(one) for one in taken], dropped=2),
        Column("checkpointing", [_recompute(one) for one in taken], right=False, dropped=3),
        Column("tokens/s", [_speed(cost, one) for one in taken], dropped=1),
    ]


def as_many_as_it_takes(cost: Cost) -> list[Column]:
    """Return the columns for GPU types of which one is too small."""
    found = cost.fewest
    return [
        Column("", [f"{one.num_gpus} x {one.gpu_type.name}" for one in found], right=False),
        Column("GB", [f"{one.gpu_type.memory_gb}" for one in found]),
        Column("how", [_NAMES[one.execution.placement.value] for one in found], right=False),
        Column("token budget", [_budget(one) for one in found], dropped=2),
        Column("checkpointing", [_recompute(one) for one in found], right=False, dropped=3),
        Column("peak of each", [size(one.peak) for one in found]),
        Column("tokens/s", [_speed(cost, one) for one in found], dropped=1),
        Column("training", [hours(cost.hours_on(one)) for one in found]),
    ]


def notes(cost: Cost) -> list[str]:
    if not cost.several and not cost.fewest:
        return []
    links = ", ".join(f"{gpu_type.name} {gpu_type.link_gb:g}" for gpu_type in gpus.GPU_TYPES)
    lines = [
        "A copy on each, and sharded: one process per GPU, and the processes divide the rows of a "
        "batch. Sharded: each GPU holds a part of the frozen base model (FSDP), and a block is "
        "gathered while the one before it is computed. Device map: one process, and one GPU "
        "computes at a time.",
        "All GPUs are in one machine. They are assumed to reach "
        f"{gpus.LINK_SHARE:.0%} of their link's nominal bandwidth, in GB/s each way: {links}.",
    ]
    if cost.fewest:
        lines.append(
            "trainer.num_gpus=2 shows every way to use two GPUs. By default, several processes "
            "shard the base model if a copy on each GPU does not fit. One process that sees "
            "several GPUs builds a device map if one GPU is too small."
        )
    return lines


def _memory_and_hours(cost: Cost, one: OnGpu | None) -> str:
    if one is None:
        return "-"
    if not one.execution.fits:
        return "does not fit"
    took = cost.hours_on(one)
    return f"{size(one.peak)}, {hours(took)}" if took is not None else size(one.peak)


def _chosen(one: OnGpu) -> str:
    return _NAMES[one.execution.placement.value] if one.execution.fits else "-"


def _budget(one: OnGpu) -> str:
    return f"{one.execution.token_budget:,}" if one.execution.fits else "-"


def _recompute(one: OnGpu) -> str:
    how = one.execution
    if not how.fits:
        return "-"
    return how.recompute.value + (", paged" if how.paged else "")


def _speed(cost: Cost, one: OnGpu) -> str:
    fits = one.execution.fits
    if not fits or one.seconds_per_step is None:
        return "-"
    return f"{cost.tokens_per_step / one.seconds_per_step:,.0f}"
