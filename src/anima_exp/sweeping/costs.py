"""A sweep's command line -> what its cells would cost; nothing is run."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from anima_exp.cli.sweep_source import question
from anima_exp.display import console
from anima_exp.experiment.preflight import check_files
from anima_exp.planner.grid import show_grid
from anima_exp.sweeping.grid_sweep import compose_grid_from_cli, sweep_name


def show_costs(
    master: DictConfig,
    arguments: Sequence[str],
    *,
    loader: ConfigLoader,
    params: Mapping[str, Any],
    points: Sequence[Mapping[str, Any]],
    multipliers: Mapping[str, Any],
    about: str | None,
    reference_results: Any,
) -> None:
    """Raises ConfigError: a cell cannot run; the base alone may be missing here."""
    name = sweep_name(master, arguments)
    grid = compose_grid_from_cli(
        master, arguments, loader=loader, params=params, points=points, multipliers=multipliers,
        check_inputs=check_files,
    )  # fmt: skip
    asked = question(name, master)
    console.say(name + (f": {asked}" if asked else ""))
    if grid.duplicates:
        console.say(f"{grid.duplicates} duplicate cells are left out.")
    console.say("")
    show_grid([(cell.label, cell.config) for cell in grid.cells])
