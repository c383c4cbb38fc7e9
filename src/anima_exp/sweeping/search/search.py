"""Run a search from its command line: check it, run the trials that Optuna suggests, summarize."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from anima_exp.cli.sweep_source import question
from anima_exp.config import Direction, EarlyStopping, RunConfig
from anima_exp.config.former_names import first_name
from anima_exp.errors import AnimaError, ConfigError, SweepError
from anima_exp.experiment.preflight import check_dry, check_hubs, check_inputs
from anima_exp.libraries.hydra_internals import overrides_parser
from anima_exp.results import identity
from anima_exp.sweeping.cell import Cell, Job, Outcome, State
from anima_exp.sweeping.checks import check_metric, metric
from anima_exp.sweeping.composer import Composer
from anima_exp.sweeping.expand import Point
from anima_exp.sweeping.grid import Grid, compose_cell, make_cell
from anima_exp.sweeping.grid_sweep import sweep_name, typed
from anima_exp.sweeping.launchers import launcher_of, run_here, submit_to_launcher
from anima_exp.sweeping.manifest import SweepFile, sweep_folder
from anima_exp.sweeping.search import summary
from anima_exp.sweeping.search.space import Search, Space, Steps, search_space
from anima_exp.sweeping.search.study import Study, Trial
from anima_exp.sweeping.search.trials import Trials

_LOOK_SECONDS = 2.0  # interval between checks of cells that other processes run

Compose = Callable[[tuple[str, ...]], tuple[tuple[str, ...], RunConfig]]


def search(
    master: DictConfig,
    arguments: Sequence[str],
    *,
    hydra_context: HydraContext,
    task_function: TaskFunction,
    params: Mapping[str, Any],
    points: Sequence[Any],
    multipliers: Mapping[str, Any],
    reference_results: DictConfig | None,
    **settings: Any,
) -> None:
    """Run trials until there are n_trials, over all starts of the search.

    Raises:
        ConfigError: if no trial can run, or a search setting is invalid. Nothing was started.
        SweepError: if trials failed. All others were run.
        RunInterrupted: if Ctrl-C or SIGTERM stopped it.
    """
    chosen = Search(**settings)
    chosen.check()
    launcher = launcher_of(master, hydra_context, task_function)
    _refuse_grid(points, multipliers)
    name = sweep_name(master, arguments)
    parser = overrides_parser(hydra_context.config_loader)
    space = search_space(parser, arguments, params)
    composer = Composer(hydra_context.config_loader, master)

    def compose(overrides: tuple[str, ...]) -> tuple[tuple[str, ...], RunConfig]:
        return compose_cell(Point(overrides), composer, group=name, check_inputs=check_inputs)

    corners = _corners(space, compose)
    first = corners[0]
    check_metric(first)
    key = _key(space, chosen, corners)
    folder = sweep_folder(first.runs_dir, name, key)
    steps = _steps(first, chosen)
    asks = question(name, master)
    if first.dry_run:
        check_dry(corners, here=launcher is None)
        summary.before(name, asks, folder, space, chosen, trials=[])
        summary.not_started()
        return
    check_hubs(corners)

    def cell(trial: Trial) -> Cell:
        overrides, config = compose(space.overrides(trial.values))
        return make_cell(trial.number, overrides, config, tuple(space.searched))

    def save() -> None:
        file.stopped = schedule.stopped()
        if schedule.cells:
            file.save()

    with Study(
        folder, space, chosen, direction=Direction(metric(first).direction), steps=steps
    ) as study:
        summary.before(name, asks, folder, space, chosen, study.trials)
        schedule = Trials(
            study,
            metric=first.sweep.metric,
            retries=first.sweep.retries,
            compose=cell,
            on_new_cell=save,
        )
        file = SweepFile(
            name=name,
            question=asks,
            command=typed(),
            grid=Grid(schedule.cells, tuple(space.searched), duplicates=0),
            published=OmegaConf.to_container(reference_results) if reference_results else None,
            key=key,
        )
        if launcher is None:
            run_here(file, schedule, first)
        else:
            _in_batches(schedule, chosen.batch_size, launcher, master)
            save()
        failed = summary.after(file, study, schedule.failed)
    if failed:
        raise SweepError(
            f"{failed} of {chosen.n_trials} trials failed. Run the same command again to retry "
            "them."
        )


def _refuse_grid(points: Sequence[Any], multipliers: Mapping[str, Any]) -> None:
    for key, value in (("points", points), ("multipliers", multipliers)):
        if value:
            raise ConfigError(
                f"hydra.sweeper.{key}: points and multipliers make a grid, which "
                "hydra/sweeper=grid runs. hydra/sweeper=optuna searches params and what the "
                "command line varies."
            )


def _corners(space: Space, compose: Compose) -> list[RunConfig]:
    """Return the configs of the first and the last point of the space that can run.

    Raises:
        AnimaError: if neither can run.
    """
    found, mistakes = [], []
    for overrides in space.corners:
        try:
            found.append(compose(overrides)[1])
        except AnimaError as error:
            mistakes.append(error)
    if not found:
        raise mistakes[0]
    return found


def _key(space: Space, chosen: Search, corners: list[RunConfig]) -> str:
    """Return what identifies a search. n_trials and the pruner are not part of it."""
    sweep = corners[0].sweep
    return json.dumps(
        {
            "space": space.lines(first_name),
            "corners": [identity.run_name(config) for config in corners],
            "sampler": chosen.sampler,
            "seed": chosen.seed,
            "metric": sweep.metric,
            "direction": metric(corners[0]).direction,
        }
    )


def _steps(config: RunConfig, chosen: Search) -> Steps:
    trainer, sweep = config.trainer, config.sweep
    if sweep.early_stopping is not EarlyStopping.none:
        raise ConfigError(
            f"sweep.early_stopping={sweep.early_stopping.value} needs hydra/sweeper=grid. "
            "With hydra/sweeper=optuna give hydra.sweeper.pruner=median, successive_halving or "
            "hyperband."
        )
    # The loss is logged between evaluations; a score is measured at them.
    key = "log_every" if sweep.metric == "loss" else "eval_every"
    every = getattr(trainer, key)
    if chosen.pruner != "none" and (every is None or every >= (trainer.max_steps or math.inf)):
        raise ConfigError(
            f"hydra.sweeper.pruner={chosen.pruner} looks at sweep.metric={sweep.metric} during a "
            f"run, but trainer.{key}={every or 'null'} has it at the end only. "
            f"Give trainer.{key}=STEPS, fewer than trainer.max_steps={trainer.max_steps or 'null'}."
        )
    first = every or 1
    return Steps(first, max(first, trainer.max_steps or first), sweep.reduction_factor)


def _in_batches(schedule: Trials, size: int, launcher: Launcher, master: DictConfig) -> None:
    """Run trials with a launcher of Hydra, `size` at a time."""
    while schedule.waiting:
        jobs: list[Job] = []
        while len(jobs) < size and (job := schedule.next()):
            jobs.append(job)
        fresh = [job.cell for job in jobs if job.cell.state is not State.done and not job.cell.busy]
        if fresh:
            submit_to_launcher(fresh, launcher, master)
        elif not any(job.cell.state is State.done for job in jobs):
            time.sleep(_LOOK_SECONDS)
        for job in jobs:
            schedule.ended(job, _outcome(job.cell))


def _outcome(cell: Cell) -> Outcome:
    if cell.state is State.done:
        return Outcome.done
    return Outcome.in_use if cell.busy else Outcome.failed
