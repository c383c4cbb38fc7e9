"""A sweep's command line -> what its cells would cost; nothing is run."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from anima_exp.plan.grid import show_grid
from anima_exp.results import screen
from anima_exp.run_checks import check_files
from anima_exp.sweep.sweeper import composed, sweep_name
from anima_exp.sweep_files import question


def show_costs(
    master: DictConfig,
    arguments: Sequence[str],
    *,
    loader: ConfigLoader,
    params: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    factors: Mapping[str, Any],
    about: str | None,
    published: Any,
) -> None:
    """Raises ConfigError: a cell cannot run; the base alone may be missing here."""
    name = sweep_name(master, arguments)
    grid = composed(
        master, arguments, loader=loader, params=params, rows=rows, factors=factors,
        check_inputs=check_files,
    )  # fmt: skip
    asked = question(name, master)
    screen.say(name + (f": {asked}" if asked else ""))
    if grid.duplicates:
        screen.say(f"{grid.duplicates} cells would repeat another and are left out.")
    screen.say("")
    show_grid([(cell.label, cell.config) for cell in grid.cells])
