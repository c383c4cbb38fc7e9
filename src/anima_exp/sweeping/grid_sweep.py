"""Run a grid from its command line: compose, check, show, run and summarize its cells."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class GridParts:
    """What `hydra.sweeper` says of a grid."""

    params: Mapping[str, Any]  # lora.rank: 8,64
    points: Sequence[Mapping[str, Any]]  # settings that change together
    multipliers: Mapping[str, Any]  # trainer.max_steps: 0.5,1,2
    about: str | None  # the setting that the question is about
    reference_results: Any  # figures of a paper


def sweep(
    master: DictConfig,
    arguments: Sequence[str],
    parts: GridParts,
    *,
    hydra_context: HydraContext,
    task_function: TaskFunction,
) -> None:
    """Run the cells of a grid that are not done.

    Raises:
        ConfigError: if a cell cannot run. Nothing was started.
        SweepError: if cells failed. All others were run.
        RunInterrupted: if Ctrl-C or SIGTERM stopped it.
    """
    launcher = launcher_of(master, hydra_context, task_function)
    loader = hydra_context.config_loader
    file = described(master, arguments, parts, loader=loader, command=typed())
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
            f"{len(failed)} of {len(grid.cells)} runs failed. Run the same command again to retry "
            "them."
        )


def described(
    master: DictConfig,
    arguments: Sequence[str],
    parts: GridParts,
    *,
    loader: ConfigLoader,
    command: str,
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
            "started. Leave torchrun out. launcher.gpus_per_job=2 gives each run two GPUs.",
            reported=here.rank > 0,
        )
    name = sweep_name(master, arguments)
    grid = compose_grid_from_cli(master, arguments, parts, loader=loader)
    quoted = parts.reference_results
    return SweepFile(
        name=name,
        question=question(name, master),
        command=command,
        grid=grid,
        about=_about(parts, grid),
        published=OmegaConf.to_container(quoted) if quoted else None,
    )


def compose_grid_from_cli(
    master: DictConfig,
    arguments: Sequence[str],
    parts: GridParts,
    *,
    loader: ConfigLoader,
    check_inputs: Callable[[RunConfig], None] = check_inputs,
) -> Grid:
    """Compose and check every cell.

    Raises:
        ConfigError: if a cell cannot run.
    """
    cells = expand(
        overrides_parser(loader), arguments,
        params=parts.params, points=parts.points, multipliers=parts.multipliers,
    )  # fmt: skip
    return compose_grid(
        cells,
        Composer(loader, master),
        group=_group(sweep_name(master, arguments), cells),
        check_inputs=check_inputs,
        progress=_progress,
    )


def _about(parts: GridParts, grid: Grid) -> str | None:
    """Return the key that the question is about, or None if the command line fixed its value.

    Raises:
        ConfigError: if the sweep does not vary it.
    """
    about = parts.about
    varied = {*grid.swept, *parts.params, *parts.multipliers}
    varied |= {key for point in parts.points for key in point}
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
            f"sweep.early_stopping={settings.early_stopping.value} can only stop runs on this "
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
    return track(points, "Checking runs", console=console.console, transient=True)


def typed() -> str:
    """Return the command line of this process."""
    return command_line("train", sys.argv[1:])
