"""Show what the cells of a sweep would cost, without running anything."""

from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from anima_exp.cli.sweep_source import question
from anima_exp.display import console
from anima_exp.experiment.preflight import check_files
from anima_exp.planner.grid import show_grid
from anima_exp.sweeping.grid_sweep import GridParts, compose_grid_from_cli, sweep_name


def show_costs(
    master: DictConfig,
    arguments: Sequence[str],
    parts: GridParts,
    *,
    loader: ConfigLoader,
) -> None:
    """Print the cost of every cell and of the whole sweep.

    Raises:
        ConfigError: if a cell cannot run. Only the base model may be missing.
    """
    name = sweep_name(master, arguments)
    grid = compose_grid_from_cli(master, arguments, parts, loader=loader, check_inputs=check_files)
    text = question(name, master)
    console.say(name + (f": {text}" if text else ""))
    if grid.duplicates:
        console.say(f"{grid.duplicates} duplicate runs are left out.")
    console.say("")
    show_grid([(cell.label, cell.config) for cell in grid.cells])
