"""Print the costs of a sweep's cells as one table, with their sum and the cells that do not fit."""

from collections.abc import Sequence

from anima_exp.config import RunConfig
from anima_exp.display import console as screen
from anima_exp.display import tables
from anima_exp.display.tables import Column
from anima_exp.display.units import format_count, hours
from anima_exp.planner.cost import Cost, cost
from anima_exp.planner.gpus import GPU_TYPES, PRODUCT_SHARE
from anima_exp.planner.lengths import UPPER_BOUND

_ROWS = 100  # of the table


def show_grid(cells: Sequence[tuple[str, RunConfig]]) -> None:
    """Print the cost of every cell.

    Args:
        cells: the label and the config of each.
    """
    console = screen.console
    costs = [(label, cost(config)) for label, config in cells]
    columns, left_out = tables.fitting(_columns(costs), console.width)
    console.print(tables.table(columns, bold=[min(len(costs), _ROWS)]))
    if left_out:
        tables.say(console, f"the terminal is too narrow for: {', '.join(left_out)}", style="dim")
    if len(costs) > _ROWS:
        tables.say(console, f"{len(costs) - _ROWS} more runs are in the sum but not shown.")
    console.print()
    for line in _notes(costs):
        tables.say(console, line)


def _columns(costs: list[tuple[str, Cost]]) -> list[Column]:
    shown = costs[:_ROWS]
    every = [one for _, one in costs]
    tokens = [format_count(one.tokens) if one.tokens else "unknown" for _, one in shown]
    total = sum(one.tokens or 0 for one in every)
    columns = [
        Column("run", [*(label for label, _ in shown), f"all {len(costs)} runs"], right=False),
        Column("tokens", [*tokens, format_count(total)]),
    ]
    for place, gpu_type in enumerate(GPU_TYPES):
        texts = [_hours(one, place) for _, one in shown]
        texts.append(hours(sum(one.hours_on(one.on_gpus[place]) or 0 for one in every)))
        heading = f"{gpu_type.name}, {gpu_type.memory_gb} GB"
        columns.append(Column(heading, texts, dropped=len(GPU_TYPES) - place))
    return columns


def _which(costs: list[tuple[str, Cost]]) -> str:
    numbers = sorted({one.num_gpus for _, one in costs})
    if numbers == [1]:
        return "one GPU"
    counts = " or ".join(map(str, numbers))
    return f"{counts} GPUs per run (trainer.num_gpus, launcher.gpus_per_job)"


def _hours(one: Cost, place: int) -> str:
    if not one.on_gpus[place].execution.fits:
        return "does not fit"
    return hours(one.hours_on(one.on_gpus[place]))


def _notes(costs: list[tuple[str, Cost]]) -> list[str]:
    notes = []
    for place, gpu_type in enumerate(GPU_TYPES):
        outside = [label for label, one in costs if not one.on_gpus[place].execution.fits]
        if outside:
            named = "; ".join(outside[:3]) + ("; ..." if len(outside) > 3 else "")
            notes.append(
                f"{gpu_type.name}, {gpu_type.memory_gb} GB: {len(outside)} of {len(costs)} runs "
                f"do not fit and are not in its sum: {named}"
            )
    unknown = sum(one.steps is None for _, one in costs)
    if unknown:
        notes.append(
            f"{unknown} runs are in no sum: their steps depend on the number of rows "
            "(trainer.num_epochs), which is unknown until a run reads the data. "
            "data.max_train_rows limits it."
        )
    if bounds := sum(one.lengths.upper_bound and one.steps is not None for _, one in costs):
        notes.append(f"{UPPER_BOUND} tokens and hours of {bounds} runs are at most these.")
    notes.append(
        f"Hours are of training only, on {_which(costs)}. They are estimates, not measurements: "
        f"matrix products are assumed to reach {PRODUCT_SHARE:.0%} of the GPU's nominal bf16 "
        "speed. anima-exp plan of a single run lists all assumptions."
    )
    return notes
