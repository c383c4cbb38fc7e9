"""Print what a sweep will do before it starts, and its results after it."""

import sys
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from rich.table import Table
from rich.text import Text

from anima_exp.config import RunConfig
from anima_exp.config.checks import check_length
from anima_exp.display import console
from anima_exp.planner import lengths as known_lengths
from anima_exp.planner.length_stats import LengthStats
from anima_exp.results import identity
from anima_exp.results.folder import run_folder
from anima_exp.results.record import RECORD, Record
from anima_exp.sweeping.cell import Cell, State, by_setting
from anima_exp.sweeping.checks import metric
from anima_exp.sweeping.manifest import SweepFile
from anima_exp.system import paths
from anima_exp.system.invocation import command_line
from anima_exp.system.paths import shipped
from anima_exp.system.terminal import printable

_ROWS = 100  # rows of the table of cells
_FAILURES = 20
_WORDS = {
    State.done: "done",
    State.partial: "partly done",
    State.failed: "failed before",
    State.new: "new",
}


def before(file: SweepFile) -> None:
    """Print the question, the number of runs, and what is left to do."""
    cells = file.grid.cells
    states = Counter(cell.state for cell in cells)
    counts = [f"{states[state]} {word}" for state, word in _WORDS.items() if states[state]]
    plan = {"sweep": file.name + (f": {file.question}" if file.question else "")}
    plan["runs"] = f"{len(cells)}: {', '.join(counts)}"
    if file.grid.duplicates:
        plan["runs"] += f"; {file.grid.duplicates} duplicates left out"
    left = [cell for cell in cells if cell.state is not State.done]
    if left:
        plan["tokens"] = _tokens(left)
    plan["folder"] = f"{file.folder}"
    console.show_plan(plan)
    damaged([cell for cell in left if cell.damage])


def damaged(cells: list[Cell]) -> None:
    """Print one line for each cell whose record cannot be read, with what happens next."""
    for cell in cells[:_FAILURES]:
        console.say(
            printable(
                f"damaged  #{cell.number} {cell.label}: {cell.folder / RECORD} cannot be read "
                f"({cell.damage}). The run resumes from its last checkpoint and writes it again."
            )
        )
    if len(cells) > _FAILURES:
        console.say(f"         and {len(cells) - _FAILURES} more")


def table(cells: list[Cell]) -> None:
    """Print every cell, for a dry run."""
    shown = Table(
        "", "settings", "state", "steps", "run", box=None, pad_edge=False, header_style="dim"
    )
    for column in (0, 3):
        shown.columns[column].justify = "right"
    shown.columns[4].no_wrap = True
    for cell in cells[:_ROWS]:
        trainer = cell.config.trainer
        steps = f"{trainer.max_steps:,}" if trainer.max_steps else f"{trainer.num_epochs:g} epochs"
        label = Text(printable(cell.label))
        shown.add_row(str(cell.number), label, _WORDS[cell.state], steps, Text(cell.name))
    console.console.print(shown)
    if len(cells) > _ROWS:
        console.say(f"and {len(cells) - _ROWS} more")
    console.say("\nNothing was started, because dry_run=true.")


def print_single_run(config: RunConfig) -> None:
    """Print what a single run would do, for a dry run."""
    check_length(config)
    name = identity.run_name(config)
    cell = Cell(0, (), "this run", config, name, run_folder(config))
    console.show_plan({"tokens": _tokens([cell]), "folder": f"{cell.folder}"})
    table([cell])


def after(file: SweepFile, *, lost: Sequence[Cell] = ()) -> list[Cell]:
    """Print the counts, the best cell and each failure; return the cells that failed.

    Args:
        lost: cells that a launcher could not start, and which have no folder.
    """
    cells = file.grid.cells
    done = [cell for cell in cells if cell.state is State.done]
    without_word = {cell.name for cell in lost}
    failed = [c for c in cells if c.state is State.failed or c.name in without_word]
    stopped = [cell for cell in cells if cell.name in file.stopped]
    counts = [f"{len(done)} of {len(cells)} runs done"]
    counts += [f"{len(stopped)} stopped early"] * bool(stopped)
    counts += [f"{len(failed)} failed"] * bool(failed)
    console.say(", ".join(counts))
    _best(file, done)
    failures(failed)
    if done:
        how_to_compare(file)
    return failed


def failures(cells: list[Cell]) -> None:
    for cell in cells[:_FAILURES]:
        log = f" ({cell.log})" if cell.log.is_file() else ""  # a cluster has other logs
        console.say(printable(f"failed   #{cell.number} {cell.label}: {cell.failure}{log}"))
    if len(cells) > _FAILURES:
        console.say(f"         and {len(cells) - _FAILURES} more")


def how_to_compare(file: SweepFile) -> None:
    console.say(f"compare  {command_line('compare', [str(file.folder)])}")


def command(cell: Cell) -> str:
    """Return the command that starts only this cell."""
    return command_line("train", [*_config_dir(), *_alone(cell)])


def repeats(cell: Cell) -> str:
    """Return the command that repeats the settings of `cell` with new seeds, as a grid.

    The cell's own seed is left out. The best of many cells is partly lucky, and only seeds that
    were not selected by their score can show this.
    """
    own = [override for override in _alone(cell) if not override.startswith("seed=")]
    seeds = [cell.config.seed + more for more in (1, 2, 3)]
    if "hydra.mode=RUN" in own:  # a sweep file of the user, which -m would sweep over
        one = command_line("train", [*_config_dir(), *own, f"seed={seeds[0]}"])
        return f"{one}, and the same with more seeds"
    several = f"seed={','.join(map(str, seeds))}"
    return command_line("train", [*_config_dir(), "-m", *own, several])


def _alone(cell: Cell) -> list[str]:
    own = list(cell.overrides)
    for override in cell.overrides:
        name = override.removeprefix("sweep=")
        if name == override:
            continue
        if (shipped("sweeps") / f"{name}.yaml").exists():  # these hold only a grid
            own.remove(override)
        else:
            own.append("hydra.mode=RUN")
    return own


def _config_dir() -> list[str]:
    """`--config-dir FOLDER`, where this process was given one."""
    for here, argument in enumerate(sys.argv):
        if argument.startswith("--config-dir="):
            return [argument]
        if argument in ("--config-dir", "-cd"):
            return sys.argv[here : here + 2]
    return []


def _best(file: SweepFile, done: list[Cell]) -> None:
    settings = file.grid.cells[0].config.sweep
    records = {cell.name: Record.read(cell.folder) for cell in done}
    found = {name: record.scores.get(settings.metric) for name, record in records.items()}
    scores = {name: score for name, score in found.items() if score is not None}
    groups = by_setting([cell for cell in done if cell.name in scores])
    if not groups:
        return
    one = metric(file.grid.cells[0].config)
    best = min(groups, key=lambda cells: one.sort_key(fmean(scores[cell.name] for cell in cells)))
    value = one.number(fmean(scores[cell.name] for cell in best))
    text, first = f"best     {settings.metric} {value}", best[0]
    if len(best) > 1:
        label = " ".join(word for word in first.label.split(" ") if not word.startswith("seed="))
        console.say(printable(f"{text}, the mean of {len(best)} seeds: {label or 'every cell'}"))
    else:
        console.say(printable(f"{text}: {first.label} ({first.folder})"))


def _tokens(cells: list[Cell]) -> str:
    """Return the tokens to train on. Known if a run has read the same data before."""
    lengths: dict[str, LengthStats | None] = {}  # by model and data set
    found = []
    for cell in cells:
        config = cell.config
        key = repr((config.model, config.data, config.cache_dir))
        if key not in lengths:
            lengths[key] = known_lengths.load_stats(config, cache=paths.cache(config.cache_dir))
        found.append(known_lengths.tokens(config, lengths[key]))
    known = [count for count in found if count is not None]
    parts = [f"about {sum(known):,} to train on"] * bool(known)
    if unknown := len(found) - len(known):
        parts.append(
            f"unknown for {unknown} run{'s' * (unknown > 1)} whose data no run has read yet"
        )
    return ", ".join(parts)
