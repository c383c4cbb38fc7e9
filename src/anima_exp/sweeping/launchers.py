"""Start the cells of a sweep, in processes of this machine or with a cluster's launcher."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from anima_exp.cli.error_messages import no_plug_in
from anima_exp.config import RunConfig
from anima_exp.display import console
from anima_exp.errors import ConfigError, RunInterrupted
from anima_exp.libraries import ray_internals, submitit_internals
from anima_exp.libraries.hydra_errors import says_no_plug_in
from anima_exp.sweeping import job_process, summary
from anima_exp.sweeping.cell import Cell, State
from anima_exp.sweeping.checks import metric
from anima_exp.sweeping.gpu_leases import slots, slots_of_a_job
from anima_exp.sweeping.live_table import Board, Status
from anima_exp.sweeping.manifest import SweepFile
from anima_exp.sweeping.pool import Pool, Schedule
from anima_exp.system.atomic import atomic_write_text


@contextmanager
def wait_for_all_jobs(launcher: Launcher) -> Iterator[dict[int, str]]:
    """Keep waiting for the remaining jobs of a cluster launcher after one has died.

    The launchers for Slurm and Ray wait for their jobs in order and raise the error of the first
    one that died. The jobs after it would continue without being watched.

    Yields:
        A dict that receives the reasons of the jobs that died, by their numbers from 0.
    """
    died: dict[int, str] = {}
    numbers = iter(range(10**9))

    def keep_waiting(ask: Callable[[Any], Any], job: object) -> Any:
        number = next(numbers)
        try:
            return ask(job)
        except Exception as error:
            died[number] = last_words(error)
            return [None]

    for library in (submitit_internals, ray_internals):
        if library.starts_jobs_of(launcher):
            with library.results_through(keep_waiting):
                yield died
            return
    yield died


def last_words(error: Exception) -> str:
    """Return the last line of an error, whose text may be a full log."""
    lines = submitit_internals.reason(str(error).strip()).splitlines()
    return lines[-1] if lines else type(error).__name__


def run_here(
    file: SweepFile,
    schedule: Schedule,
    settings: RunConfig,
    *,
    shown: bool = True,
    signals: bool = True,
) -> None:
    """Run the jobs of a schedule in processes of this machine.

    Args:
        settings: the config of any cell, for the settings that all cells share.
        shown: print the progress, in a terminal as a table.
        signals: handle Ctrl-C and SIGTERM, as a command does.

    Raises:
        RunInterrupted: if Ctrl-C or SIGTERM stopped it.
    """
    cells = file.grid.cells
    places = slots(settings.launcher)
    of_a_job = slots_of_a_job(settings.launcher, places)
    board = Board(cells, metric=metric(settings), shown=shown)
    pruned = schedule.stopped()
    for cell in cells:
        if cell.state is State.done:
            board.set(cell, Status.done)
        elif cell.name in pruned:
            board.set(cell, Status.pruned)
    pool = Pool(
        places,
        of_a_job=of_a_job,
        at_once=settings.launcher.jobs or len(places) // of_a_job,
        warm=settings.launcher.preload,
        board=board,
        work=job_process.train,
        first_line=lambda cell: f"\n$ {summary.command(cell)}",
    )
    if schedule.waiting:
        pool.run(schedule, signals=signals)
    if not pool.signals:  # after an interruption the schedule has not decided yet
        file.stopped = schedule.stopped()
    file.reached = schedule.reached()
    if cells:
        file.save()
    if pool.signals:
        raise RunInterrupted(
            f"Stopped: {board.counts()}. Run the same command again to resume.",
            exit_status=128 + pool.signals[0],
        )


def launcher_of(master: DictConfig, context: HydraContext, task: TaskFunction) -> Launcher | None:
    """Return the chosen launcher of Hydra, or None for the pool of this machine.

    Raises:
        ConfigError: if its plug-in is not installed.
    """
    target = OmegaConf.select(master, "hydra.launcher._target_", default="")
    if str(target).endswith("PoolLauncher"):
        return None
    try:
        return Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=task, config=master
        )
    except RuntimeError as error:
        if not says_no_plug_in(error):
            raise
        raise ConfigError(no_plug_in(master.hydra.runtime.choices["hydra/launcher"])) from error


def submit_to_launcher(cells: list[Cell], launcher: Launcher, master: DictConfig) -> list[Cell]:
    """Run cells with a launcher of Hydra (Slurm, Ray); return those that never started.

    The run folders hold the state of the cells, so resuming works as on this machine. The results
    that the launcher returns are not used.
    """
    group = f"tracking.group={cells[0].config.tracking.group}"
    chosen = master.hydra.runtime.choices["hydra/launcher"]
    logs = OmegaConf.select(master, "hydra.launcher.submitit_folder", default=None)
    submitted = f"hydra/launcher={chosen}: {len(cells)} run{'s' * (len(cells) > 1)}"
    console.say(submitted + (f"; their output: {logs}" if logs else ""))
    reasons: dict[int, str] = {}
    try:
        with wait_for_all_jobs(launcher) as reasons:
            launcher.launch(
                [[*cell.overrides, group] for cell in cells], initial_job_idx=cells[0].number
            )
    except Exception as error:  # cells that did start have a folder with their state
        console.say(f"The launcher reported: {last_words(error)}")
    return [cell for n, cell in enumerate(cells) if not _write_failure(cell, reasons.get(n))]


def _write_failure(cell: Cell, reason: str | None) -> bool:
    """Write failure.txt for a job that died before it could; False if it has no folder."""
    if cell.state in (State.done, State.failed) or cell.busy:
        return True
    if not (cell.folder / "settings.json").is_file():
        return False
    cause = f" ({reason})" if reason else ""
    atomic_write_text(cell.folder / "failure.txt", f"its job ended before the run did{cause}\n")
    return True
