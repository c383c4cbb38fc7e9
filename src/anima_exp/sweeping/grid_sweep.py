"""One sweep from its command line to its end: compose, check, show, run, sum up."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from rich.progress import track

from anima_exp.cli.sweep_source import question
from anima_exp.config import EarlyStopping, RunConfig
from anima_exp.display import console
from anima_exp.distributed.environment import rank_info
from anima_exp.errors import ConfigError, SweepError
from anima_exp.experiment.preflight import check_dry, check_hubs, check_inputs
from anima_exp.libraries.hydra_internals import overrides_parser
from anima_exp.sweeping import summary
from anima_exp.sweeping.asha import Halving
from anima_exp.sweeping.cell import Cell, State
from anima_exp.sweeping.composer import Composer
from anima_exp.sweeping.expand import Point, expand
from anima_exp.sweeping.gpu_leases import check_gpus
from anima_exp.sweeping.grid import Grid, compose_grid, swept_keys
from anima_exp.sweeping.launchers import launcher_of, run_here, submit_to_launcher
from anima_exp.sweeping.manifest import SweepFile
from anima_exp.sweeping.pool import Schedule
from anima_exp.sweeping.schedule import Queue
from anima_exp.system.invocation import command_line

# Which schedule a sweep's settings ask for.


def schedule_for(cells: list[Cell]) -> Schedule:
    """The schedule of a grid; all cells share the settings that it goes by.

    Raises:
        ConfigError: early stopping was asked for where it cannot be done.
    """
    settings = cells[0].config.sweep
    if settings.early_stopping is EarlyStopping.asha:
        return Halving(cells, settings)
    missing = [cell for cell in cells if cell.state is not State.done]
    return Queue(missing, retries=settings.retries)


_LONG = 200  # cells from which composing shows its progress


def sweep(
    master: DictConfig,
    arguments: Sequence[str],
    *,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    params: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    multipliers: Mapping[str, Any],
    about: str | None,
    reference_results: Any,
) -> None:
    """Do what is missing of a grid.

    Raises:
        ConfigError: a cell cannot run; nothing was started.
        SweepError: cells failed; all others were run.
        Stopped: Ctrl-C or SIGTERM.
    """
    launcher = launcher_of(master, hydra_context, task_function)
    file = described(
        master, arguments, loader=hydra_context.config_loader, command=typed(),
        params=params, points=points, multipliers=multipliers, about=about,
        reference_results=reference_results,
    )  # fmt: skip
    grid = file.grid
    settings = grid.cells[0].config
    check_gpus(settings)
    schedule = schedule_for(grid.cells)  # says what early stopping lacks, before a dry run ends
    summary.before(file)
    if settings.dry_run:
        check_dry([cell.config for cell in grid.cells], here=launcher is None)
        summary.table(grid.cells)
        return
    check_hubs([cell.config for cell in grid.cells if cell.state is not State.done])
    file.save()
    lost: list[Cell] = []
    if launcher is None:
        run_here(file, schedule, settings)
    else:
        lost = _on_a_cluster(grid.cells, launcher, master)
    failed = summary.after(file, lost=lost)
    if failed:
        raise SweepError(
            f"{len(failed)} of {len(grid.cells)} cells failed; the same command tries them again."
        )


def described(
    master: DictConfig,
    arguments: Sequence[str],
    *,
    loader: ConfigLoader,
    command: str,
    params: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    multipliers: Mapping[str, Any],
    about: str | None,
    reference_results: Any,
) -> SweepFile:
    """Compose and check every cell of a sweep; nothing is started or written.

    Args:
        command: the command line that does the same.

    Raises:
        ConfigError: a cell cannot run, or several processes were started.
    """
    if (here := rank_info()).size > 1:
        raise ConfigError(
            f"-m starts the cells of a sweep by itself, and {here.size} processes were started. "
            "Leave torchrun out; launcher.gpus_per_job=2 gives each cell two GPUs.",
            reported=here.rank > 0,
        )
    name = sweep_name(master, arguments)
    grid = compose_grid_from_cli(
        master, arguments, loader=loader, params=params, points=points, multipliers=multipliers
    )
    return SweepFile(
        name=name,
        question=question(name, master),
        command=command,
        grid=grid,
        about=_about(about, grid, params=params, points=points, multipliers=multipliers),
        published=OmegaConf.to_container(reference_results) if reference_results else None,
    )


def compose_grid_from_cli(
    master: DictConfig,
    arguments: Sequence[str],
    *,
    loader: ConfigLoader,
    params: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    multipliers: Mapping[str, Any],
    check_inputs: Callable[[RunConfig], None] = check_inputs,
) -> Grid:
    """Every cell, composed and checked.

    Raises:
        ConfigError: a cell cannot run.
    """
    parser = overrides_parser(loader)
    cells = expand(parser, arguments, params=params, points=points, multipliers=multipliers)
    return compose_grid(
        cells,
        Composer(loader, master),
        group=_group(sweep_name(master, arguments), cells),
        check_inputs=check_inputs,
        progress=_progress,
    )


def _about(
    about: str | None,
    grid: Grid,
    *,
    params: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    multipliers: Mapping[str, Any],
) -> str | None:
    """Return the key that the question is about, or None if the command line fixed its value.

    Raises:
        ConfigError: the sweep does not vary it.
    """
    varied = {*grid.swept, *params, *multipliers, *(key for row in points for key in row)}
    if about is not None and about not in varied:
        raise ConfigError(
            f"hydra.sweeper.about={about} is no setting that this sweep varies. "
            f"Give one of {', '.join(sorted(varied))}, or leave it out."
        )
    return about if about in grid.swept else None


def _on_a_cluster(cells: list[Cell], launcher: Launcher, master: DictConfig) -> list[Cell]:
    """Every cell that is not done; returns those that were never begun."""
    settings = cells[0].config.sweep
    if settings.early_stopping is not EarlyStopping.none:
        raise ConfigError(
            f"sweep.early_stopping={settings.early_stopping.value} watches the cells of this "
            "machine: it needs hydra/launcher=pool."
        )
    missing, lost = [cell for cell in cells if cell.state is not State.done], []
    for _ in range(1 + settings.retries):
        if missing:
            lost = submit_to_launcher(missing, launcher, master)
        missing = [cell for cell in missing if cell.state is State.failed or cell in lost]
    return lost


def sweep_name(master: DictConfig, arguments: Sequence[str]) -> str:
    """The file in sweeps/ that was chosen, or `by_hand`.

    Raises:
        ConfigError: several were; a sweep is one grid.
    """
    for argument in arguments:
        if argument.startswith("sweep=") and "," in argument:
            raise ConfigError(f"{argument}: one sweep at a time; give each a command of its own.")
    return master.hydra.runtime.choices.get("sweep") or "by_hand"


def _group(name: str, points: Sequence[Point]) -> str:
    """The W&B group: the sweep's name, or of one by hand what it sweeps, as `lora.rank x seed`."""
    if name != "by_hand":
        return name
    return " x ".join(swept_keys([point.overrides for point in points])) or name


def _progress(points: Iterable[Point]) -> Iterable[Point]:
    points = list(points)
    if len(points) < _LONG:
        return points
    return track(points, "Checking cells", console=console.console, transient=True)


def typed() -> str:
    """The command line of this process."""
    return command_line("train", sys.argv[1:])
