"""One sweep from its command line to its end: compose, check, show, run, sum up."""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from rich.progress import track

from anima_exp.compose import question
from anima_exp.errors import Stopped, SweepError
from anima_exp.experiment import check_data
from anima_exp.results import screen
from anima_exp.sweep import summary, worker
from anima_exp.sweep.board import Board, Status
from anima_exp.sweep.cell import State
from anima_exp.sweep.composition import Composer
from anima_exp.sweep.expand import Point, expand
from anima_exp.sweep.file import SweepFile
from anima_exp.sweep.grid import compose_grid
from anima_exp.sweep.pool import Pool
from anima_exp.sweep.schedules import schedule_for
from anima_exp.sweep.slots import slots

_LONG = 200  # cells from which composing shows its progress


def sweep(
    master: DictConfig,
    arguments: Sequence[str],
    *,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    params: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    factors: Mapping[str, Any],
    published: Any,
) -> None:
    """Do what is missing of a grid.

    Raises:
        ConfigError: a cell cannot run; nothing was started.
        SweepError: cells failed; all others were run.
        Stopped: Ctrl-C or SIGTERM.
    """
    name = master.hydra.runtime.choices.get("sweep") or "by_hand"
    parser = OverridesParser.create(config_loader=hydra_context.config_loader)
    points = expand(parser, arguments, params=params, rows=rows, factors=factors)
    grid = compose_grid(
        points,
        Composer(hydra_context.config_loader, master),
        group=name,
        check_data=check_data,
        progress=_progress,
    )
    file = SweepFile(
        name=name,
        question=question(name, master),
        command=_command(),
        grid=grid,
        published=OmegaConf.to_container(published) if published else None,
    )
    settings = grid.cells[0].config
    summary.before(file)
    if settings.dry_run:
        summary.table(grid.cells)
        return
    file.save()
    if OmegaConf.select(master, "hydra.launcher._target_", default="").endswith("PoolLauncher"):
        _run_here(file)
    else:
        _hand_over(file, master, hydra_context, task_function)
    failed = summary.after(file)
    if failed:
        raise SweepError(
            f"{len(failed)} of {len(grid.cells)} cells failed; the same command tries them again."
        )


def _run_here(file: SweepFile) -> None:
    """Every cell that is not done, in processes of this machine."""
    cells, settings = file.grid.cells, file.grid.cells[0].config
    schedule = schedule_for(cells)
    places = slots(settings.launcher)
    board = Board(cells, metric=settings.sweep.metric)
    for cell in cells:
        if cell.state is State.done:
            board.set(cell, Status.done)
        elif cell.name in schedule.stopped():
            board.set(cell, Status.given_up)
    pool = Pool(
        places,
        at_once=settings.launcher.jobs or len(places),
        warm=settings.launcher.warm,
        board=board,
        work=worker.train,
        first_line=lambda cell: f"\n$ {summary.command(cell)}",
    )
    if schedule.waiting:
        pool.run(schedule)
    if pool.signals:
        raise Stopped(
            f"Stopped: {board.counts()}. The same command goes on from there.",
            exit_status=128 + pool.signals[0],
        )
    file.stopped = schedule.stopped()
    file.save()


def _hand_over(
    file: SweepFile, master: DictConfig, context: HydraContext, task: TaskFunction
) -> None:
    """Every cell that is not done, to a launcher of Hydra's: Slurm, Ray.

    What a cell is, whether it is done and where it goes on is in its folder, so the rules are
    the same there. The launcher's own answers are not needed.
    """
    missing = [cell for cell in file.grid.cells if cell.state is not State.done]
    if not missing:
        return
    launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=task, config=master
    )
    group = f"tracking.group={missing[0].config.tracking.group}"
    try:
        launcher.launch([[*cell.overrides, group] for cell in missing], initial_job_idx=0)
    except Exception as error:  # one job's process died; the folders tell about all of them
        told = str(error).strip() or type(error).__name__
        screen.say(f"The launcher said: {told.splitlines()[-1]}")


def _progress(points: Iterable[Point]) -> Iterable[Point]:
    points = list(points)
    if len(points) < _LONG:
        return points
    return track(points, "Checking cells", console=screen.console, transient=True)


def _command() -> str:
    return shlex.join(["python", "-m", "anima_exp.train", *sys.argv[1:]])
