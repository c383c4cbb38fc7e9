"""The cells of a sweep to where they run: processes of this machine, or a cluster's launcher."""

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

# Waits for all jobs of a cluster's launcher, whatever becomes of the first.
#
# The launchers for Slurm and Ray ask their jobs for results one after the other, and leave with the
# error of the first whose process died. The jobs after it go on, and nobody would see how they end.


@contextmanager
def wait_for_all_jobs(launcher: Launcher) -> Iterator[dict[int, str]]:
    """What is said of the jobs that died comes into the dict given, by their numbers from 0."""
    died: dict[int, str] = {}
    asked = iter(range(10**9))

    def patient(ask: Callable[[Any], Any], job: Any) -> Any:
        number = next(asked)
        try:
            return ask(job)
        except Exception as error:
            died[number] = last_words(error)
            return [None]

    for library in (submitit_internals, ray_internals):
        if library.starts_jobs_of(launcher):
            with library.asked_through(patient):
                yield died
            return
    yield died


def last_words(error: Exception) -> str:
    """One line of an error that may hold a whole log."""
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
    """What the schedule gives, in processes of this machine.

    Args:
        settings: of any cell, for what all of them share.
        shown: print what happens, as a table in a terminal.
        signals: handle Ctrl-C and SIGTERM, as a command does.

    Raises:
        Stopped: Ctrl-C or SIGTERM.
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
    if not pool.signals:  # else nothing is decided
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
    """A launcher of Hydra's, or None for this machine's pool.

    Raises:
        ConfigError: its plug-in is not installed.
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
    """Cells to a launcher of Hydra's: Slurm, Ray. Returns those that were never begun.

    What a cell is, whether it is done and where it goes on is in its folder, so the rules are
    the same there. The launcher's own answers are not needed.
    """
    group = f"tracking.group={cells[0].config.tracking.group}"
    chosen = master.hydra.runtime.choices["hydra/launcher"]
    logs = OmegaConf.select(master, "hydra.launcher.submitit_folder", default=None)
    submitted = f"hydra/launcher={chosen}: {len(cells)} cell{'s' * (len(cells) > 1)}"
    console.say(submitted + (f"; their output: {logs}" if logs else ""))
    reasons: dict[int, str] = {}
    try:
        with wait_for_all_jobs(launcher) as reasons:
            launcher.launch(
                [[*cell.overrides, group] for cell in cells], initial_job_idx=cells[0].number
            )
    except Exception as error:  # it could not start them; what began has a folder to tell
        console.say(f"The launcher reported: {last_words(error)}")
    return [cell for n, cell in enumerate(cells) if not _left_word(cell, reasons.get(n))]


def _left_word(cell: Cell, reason: str | None) -> bool:
    """Leave word for a cell whose process could not; False where there is not even a folder."""
    if cell.state in (State.done, State.failed) or cell.busy:
        return True
    if not (cell.folder / "settings.json").is_file():
        return False
    cause = f" ({reason})" if reason else ""
    atomic_write_text(cell.folder / "failure.txt", f"its job ended before the run did{cause}\n")
    return True
