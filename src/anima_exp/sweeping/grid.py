"""The points of a sweep -> its cells: composed, checked, named, and each of them once."""

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

_SHOWN = 5  # different mistakes, before "and n more"


@dataclass(frozen=True)
class Grid:
    cells: list[Cell]  # in the order of the points
    swept: tuple[str, ...]  # the override keys that differ between cells, as `lora.rank`
    duplicates: int  # points that say what an earlier one says


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
        ConfigError: a point contradicts itself, the grid is empty, or its cells share a folder.
    """
    if not points:
        raise ConfigError("The sweep has no cells: one of its settings has an empty list.")
    mistakes: dict[str, list[int]] = {}
    composed: list[tuple[tuple[str, ...], RunConfig]] = []
    for number, point in enumerate(progress(points)):
        try:
            composed.append(compose_cell(point, composer, group=group, check_inputs=check_inputs))
        except AnimaError as error:
            mistakes.setdefault(str(error), []).append(number)
    if mistakes:
        raise ConfigError(_told(mistakes, of=len(points)))
    _refuse_swept_conduct([config for _, config in composed])
    return _cells(composed)


def compose_cell(
    point: Point, composer: Composer, *, group: str, check_inputs: Callable[[RunConfig], None]
) -> tuple[tuple[str, ...], RunConfig]:
    """The overrides and the config of one point, checked.

    Raises:
        AnimaError: it cannot run.
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
    """The keys that not all cells give the same value."""
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
            f"run_dir={config.run_dir} names one run; the cells of a sweep name their own. "
            "Give runs_dir=FOLDER for the folder that they are made in."
        )


def _refuse_swept_conduct(configs: Sequence[RunConfig]) -> None:
    """How a sweep is run is one thing for all of its cells."""
    for key in ("runs_dir", "dry_run", "sweep", "launcher"):
        if any(getattr(config, key) != getattr(configs[0], key) for config in configs):
            raise ConfigError(
                f"{key} has several values, but all cells of a sweep share it. Give it one value."
            )


def _told(mistakes: dict[str, list[int]], *, of: int) -> str:
    """One line for each different mistake, and how many cells make it."""
    count = sum(map(len, mistakes.values()))
    if count == of and len(mistakes) == 1:
        return next(iter(mistakes))
    lines = [f"{count} of {of} cells cannot run, so none was started:"]
    for mistake, cells in list(mistakes.items())[:_SHOWN]:
        which = f"#{cells[0]}" if len(cells) == 1 else f"#{cells[0]} and {len(cells) - 1} more"
        lines.append(f"  {which}: {mistake}")
    if len(mistakes) > _SHOWN:
        lines.append(f"  and {len(mistakes) - _SHOWN} other errors")
    return "\n".join(lines)
