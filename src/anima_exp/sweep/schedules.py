"""Which schedule a sweep's settings ask for."""

from anima_exp.sweep.cell import State
from anima_exp.sweep.file import SweepFile
from anima_exp.sweep.pool import Schedule
from anima_exp.sweep.queue import Queue


def schedule_for(file: SweepFile) -> Schedule:
    cells = file.grid.cells
    settings = cells[0].config.sweep
    missing = [cell for cell in cells if cell.state is not State.done]
    return Queue(missing, retries=settings.retries)
