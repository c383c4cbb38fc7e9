"""Which schedule a sweep's settings ask for."""

from anima_exp.config import EarlyStopping
from anima_exp.sweep.cell import Cell, State
from anima_exp.sweep.halving import Halving
from anima_exp.sweep.pool import Schedule
from anima_exp.sweep.queue import Queue


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
