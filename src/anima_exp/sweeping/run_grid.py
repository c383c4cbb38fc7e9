"""Run a grid that is given in Python, as `-m` does on the command line."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from hydra.types import RunMode
from omegaconf import OmegaConf

from anima_exp.cli.adapter_settings import with_adapter
from anima_exp.cli.error_messages import takes_one_file
from anima_exp.cli.from_python import Words, composed, hydra, plain, words_of
from anima_exp.cli.overrides import assignment
from anima_exp.config import RunConfig
from anima_exp.config.program_settings import former_names
from anima_exp.errors import ConfigError, SweepError
from anima_exp.experiment.preflight import check_hubs
from anima_exp.results.record import Record
from anima_exp.sweeping import summary
from anima_exp.sweeping.cell import Cell, State
from anima_exp.sweeping.gpu_leases import check_gpus
from anima_exp.sweeping.grid_sweep import GridParts, described, schedule_for
from anima_exp.sweeping.launchers import run_here
from anima_exp.sweeping.manifest import SweepFile

_FAILURES = 20  # listed in an error


def run_grid(
    config: RunConfig,
    grid: Mapping[str, Any],
    *,
    jobs: int | None = None,
    shown: bool = False,
) -> list[Record]:
    """Run every combination of `grid` that is not done yet; return the records of all that are.

    Args:
        grid: values by setting. A text or a number is one value.
        jobs: cells at once (`launcher.jobs`).
        shown: print what the command prints.

    Raises:
        ConfigError: if a cell cannot run. Nothing was started.
        SweepError: if cells failed. All others are done.
    """
    file = described_by(words_of(config), [*_axes(grid), *_jobs(jobs)])
    cells = file.grid.cells
    settings = cells[0].config
    if settings.dry_run:
        raise ConfigError("dry_run=true starts nothing. Leave it out, or use plan().")
    check_gpus(settings)
    schedule = schedule_for(cells)
    if shown:
        summary.before(file)
    check_hubs([cell.config for cell in cells if cell.state is not State.done])
    file.save()
    run_here(file, schedule, settings, shown=shown, signals=False)
    if shown:
        summary.after(file)
    records = [Record.load(cell.folder) for cell in cells if cell.state is State.done]
    if failed := [cell for cell in cells if cell.state is State.failed]:
        raise SweepError(
            _failures_text(failed, of=len(cells)),
            records=records,
            failures={cell.label: cell.failure for cell in failed},
        )
    return records


def _failures_text(failed: Sequence[Cell], *, of: int) -> str:
    lines = [
        f"{len(failed)} of {of} runs failed. The others are done. Make the same call again to "
        "retry these:"
    ]
    lines += [f"  {cell.label}: {cell.failure} ({cell.log})" for cell in failed[:_FAILURES]]
    if len(failed) > _FAILURES:
        lines.append(f"  and {len(failed) - _FAILURES} more")
    return "\n".join(lines)


def described_by(base: Words, axes: Sequence[str]) -> SweepFile:
    """Compose and check the cells of a config with the overrides `axes`.

    Raises:
        ConfigError: if a cell cannot run, or the config selects another kind of sweep.
    """
    with hydra(RunConfig, [*base.words, *axes], config_dir=base.config_dir) as loader:
        words = [*base.words, *former_names().overrides(axes)]
        if not base.composed:
            _refuse_groups(axes)
        master = composed(
            loader, words, program="train", expand=with_adapter, mode=RunMode.MULTIRUN
        )
        sweeper = master.hydra.sweeper
        for key, wanted, plugin in (
            ("sweeper", "grid", sweeper), ("launcher", "pool", master.hydra.launcher),
        ):  # fmt: skip
            if not str(plugin.get("_target_")).endswith(_PLUG_INS[wanted]):
                raise ConfigError(
                    f"hydra/{key}={master.hydra.runtime.choices[f'hydra/{key}']}: from Python a "
                    f"sweep is a grid on this machine (hydra/{key}={wanted}). Start others with "
                    "anima-exp train -m."
                )
        names = [one.name for one in fields(GridParts)]
        values: Any = OmegaConf.to_container(OmegaConf.masked_copy(sweeper, names))
        parts = GridParts(**{**values, "reference_results": sweeper.reference_results})
        arguments = list(master.hydra.overrides.task)
        folder = [] if base.config_dir is None else ["--config-dir", str(base.config_dir)]
        command = ["python", "-m", "anima_exp.train", *folder, "-m", *words]
        return described(master, arguments, parts, loader=loader, command=shlex.join(command))


_PLUG_INS = {"grid": "GridSweeper", "pool": "PoolLauncher"}


def _axes(grid: Mapping[str, Any]) -> list[str]:
    """Return ["lora.rank=8,64"] for `{"lora.rank": [8, 64]}`.

    Raises:
        ConfigError: if a setting has no values.
    """
    words = []
    for name, given in grid.items():
        key = name.replace("__", ".")
        values = plain(list(given) if isinstance(given, range) else given, key)
        if not isinstance(values, list):
            values = [values]
        if not values:
            raise ConfigError(f"{key}=[] has no values to sweep over. Give one or more.")
        texts = [assignment(key, value).partition("=")[2] for value in values]
        words.append(f"{key}={','.join(texts)}")
    return words


def _jobs(jobs: int | None) -> list[str]:
    return [] if jobs is None else [assignment("launcher.jobs", plain(jobs, "jobs"))]


def _refuse_groups(axes: Sequence[str]) -> None:
    """Raise ConfigError if an axis is a group, although the config already sets its settings."""
    for axis in axes:
        if takes_one_file(key := axis.partition("=")[0]):
            raise ConfigError(
                f"{key} is a group of settings, and this config has a value for each of them. "
                f"Make the config by compose(), so that the others follow from {key}."
            )
