"""Run a grid from its command line: compose, check, show, run and summarise its cells."""

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


def schedule_for(cells: list[Cell]) -> Schedule:
    """Return the schedule of a grid. All cells share the settings that decide it.

    Raises:
        ConfigError: if early stopping was requested but is not possible.
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
    reference_results: DictConfig | None,
) -> None:
    """Run the cells of a grid that are not done.

    Raises:
        ConfigError: if a cell cannot run. Nothing was started.
        SweepError: if cells failed. All others were run.
        RunInterrupted: after Ctrl-C or SIGTERM.
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
    schedule = schedule_for(grid.cells)  # a dry run also reports what early stopping lacks
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
            f"{len(failed)} of {len(grid.cells)} cells failed. Run the same command again to retry "
            "them."
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
    reference_results: DictConfig | None,
) -> SweepFile:
    """Compose and check every cell of a sweep, without starting or writing anything.

    Args:
        command: the command line that does the same.

    Raises:
        ConfigError: if a cell cannot run, or several processes were started.
    """
    if (here := rank_info()).size > 1:
        raise ConfigError(
            f"-m starts the processes of a sweep by itself, but {here.size} processes were "
            "started. Leave torchrun out. launcher.gpus_per_job=2 gives each cell two GPUs.",
            told=here.rank > 0,
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
    """Compose and check every cell.

    Raises:
        ConfigError: if a cell cannot run.
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
            f"hydra.sweeper.about={about} is not a setting that this sweep varies. "
            f"Give one of {', '.join(sorted(varied))}, or leave it out."
        )
    return about if about in grid.swept else None


def _on_a_cluster(cells: list[Cell], launcher: Launcher, master: DictConfig) -> list[Cell]:
    """Run every cell that is not done on a cluster; return those that never started."""
    settings = cells[0].config.sweep
    if settings.early_stopping is not EarlyStopping.none:
        raise ConfigError(
            f"sweep.early_stopping={settings.early_stopping.value} can only stop cells on this "
            "machine. Use hydra/launcher=pool, or sweep.early_stopping=none."
        )
    missing, lost = [cell for cell in cells if cell.state is not State.done], []
    for _ in range(1 + settings.retries):
        if missing:
            lost = submit_to_launcher(missing, launcher, master)
        missing = [cell for cell in missing if cell.state is State.failed or cell in lost]
    return lost


def sweep_name(master: DictConfig, arguments: Sequence[str]) -> str:
    """Return the name of the chosen file in sweeps/, or `by_hand`.

    Raises:
        ConfigError: if several were chosen. A sweep is one grid.
    """
    for argument in arguments:
        if argument.startswith("sweep=") and "," in argument:
            raise ConfigError(
                f"{argument} names several sweeps, but a command runs one. "
                "Start one command for each."
            )
    return master.hydra.runtime.choices.get("sweep") or "by_hand"


def _group(name: str, points: Sequence[Point]) -> str:
    """Return the W&B group: the sweep's name, or by default what varies, as `lora.rank x seed`."""
    if name != "by_hand":
        return name
    return " x ".join(swept_keys([point.overrides for point in points])) or name


def _progress(points: Iterable[Point]) -> Iterable[Point]:
    points = list(points)
    if len(points) < _LONG:
        return points
    return track(points, "Checking cells", console=console.console, transient=True)


def typed() -> str:
    """Return the command line of this process."""
    return command_line("train", sys.argv[1:])
