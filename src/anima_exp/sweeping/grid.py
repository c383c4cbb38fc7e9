"""Compose, check and name the cells of a grid, without duplicates."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from anima_exp.config import RunConfig
from anima_exp.config.checks import check_length
from anima_exp.errors import AnimaError, ConfigError
from anima_exp.results import identity
from anima_exp.results.folder import run_folder
from anima_exp.sweeping.cell import Cell
from anima_exp.sweeping.composer import Composer
from anima_exp.sweeping.expand import Point

_SHOWN = 5  # different errors, before "and n more"


@dataclass(frozen=True)
class Grid:
    cells: list[Cell]  # in the order of the points
    swept: tuple[str, ...]  # the override keys that differ between cells, as `lora.rank`
    duplicates: int  # points with the same settings as an earlier one


def compose_grid(
    points: Sequence[Point],
    composer: Composer,
    *,
    group: str,
    check_inputs: Callable[[RunConfig], None],
    progress: Callable[[Iterable[Point]], Iterable[Point]] = lambda points: points,
) -> Grid:
    """Compose and check every point before anything starts.

    Args:
        group: the W&B group of all cells, unless tracking.group names one.

    Raises:
        ConfigError: if a point is invalid, the grid is empty, or its cells share a folder.
    """
    if not points:
        raise ConfigError("The sweep has no runs: one of its settings has an empty list.")
    errors: dict[str, list[int]] = {}
    composed: list[tuple[tuple[str, ...], RunConfig]] = []
    for number, point in enumerate(progress(points)):
        try:
            composed.append(compose_cell(point, composer, group=group, check_inputs=check_inputs))
        except AnimaError as error:
            errors.setdefault(str(error), []).append(number)
    if errors:
        raise ConfigError(_errors_text(errors, of=len(points)))
    _refuse_swept_conduct([config for _, config in composed])
    return _cells(composed)


def compose_cell(
    point: Point, composer: Composer, *, group: str, check_inputs: Callable[[RunConfig], None]
) -> tuple[tuple[str, ...], RunConfig]:
    """Compose and check one point; return its overrides and its config.

    Raises:
        AnimaError: if the cell cannot run.
    """
    overrides, config = composer.compose(point)
    _refuse_in_sweep(config)
    check_length(config)
    check_inputs(config)
    config.tracking.group = config.tracking.group or group
    return overrides, config


def make_cell(
    number: int, overrides: tuple[str, ...], config: RunConfig, swept: Sequence[str]
) -> Cell:
    name = identity.run_name(config)
    return Cell(
        number=number,
        overrides=overrides,
        label=" ".join(o for o in overrides if _key(o) in swept) or name,
        config=config,
        name=name,
        folder=run_folder(config, name),
    )


def _cells(composed: list[tuple[tuple[str, ...], RunConfig]]) -> Grid:
    swept = swept_keys([overrides for overrides, _ in composed])
    cells: dict[str, Cell] = {}
    for overrides, config in composed:
        cell = make_cell(len(cells), overrides, config, swept)
        cells.setdefault(cell.name, cell)
    return Grid(list(cells.values()), swept, duplicates=len(composed) - len(cells))


def swept_keys(overrides: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the override keys whose values differ between the cells."""
    values: dict[str, set[str]] = {}
    times: Counter[str] = Counter()
    for cell in overrides:
        for override in cell:
            values.setdefault(_key(override), set()).add(override)
            times[_key(override)] += 1
    return tuple(k for k, seen in values.items() if len(seen) > 1 or times[k] < len(overrides))


def _key(override: str) -> str:
    return override.partition("=")[0]


def _refuse_in_sweep(config: RunConfig) -> None:
    if config.run_dir:
        raise ConfigError(
            f"run_dir={config.run_dir} names one run; the runs of a sweep name their own folders. "
            "Give runs_dir=FOLDER for the folder that they are made in."
        )


def _refuse_swept_conduct(configs: Sequence[RunConfig]) -> None:
    """Raise ConfigError if cells differ in how the sweep is run."""
    for key in ("runs_dir", "dry_run", "sweep", "launcher"):
        if any(getattr(config, key) != getattr(configs[0], key) for config in configs):
            raise ConfigError(
                f"{key} has several values, but all runs of a sweep share it. Give it one value."
            )


def _errors_text(errors: dict[str, list[int]], *, of: int) -> str:
    """Return one line per different error, with the number of cells that have it."""
    count = sum(map(len, errors.values()))
    if count == of and len(errors) == 1:
        return next(iter(errors))
    lines = [f"{count} of {of} runs cannot start, so none was started:"]
    for error, cells in list(errors.items())[:_SHOWN]:
        which = f"#{cells[0]}" if len(cells) == 1 else f"#{cells[0]} and {len(cells) - 1} more"
        lines.append(f"  {which}: {error}")
    if len(errors) > _SHOWN:
        lines.append(f"  and {len(errors) - _SHOWN} other errors")
    return "\n".join(lines)
