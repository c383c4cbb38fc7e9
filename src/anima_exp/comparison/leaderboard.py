"""Rank cells in a leaderboard, with their scores and costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from anima_exp.comparison.cells import Cell
from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.choose_metric import metric as other
from anima_exp.comparison.runs import Run, Runs, State, Sweep, curves
from anima_exp.comparison.settings import full_name, hashable, headings, known, order
from anima_exp.metrics.intervals import Interval, apart, mean_interval


@dataclass(frozen=True)
class Row:
    """One cell. Costs are means over its runs; memory is the largest peak of any run."""

    rank: int  # by the metric, in any order of the rows
    cell: Cell = field(repr=False)
    score: Interval
    tokens: int
    hours: float  # of training
    memory_gib: float
    steps: int
    best: bool  # the best of all rows, or of those with the same value of `best_per`
    others: dict[str, Interval] = field(default_factory=dict)  # the other scores


def leaderboard(
    cells: Sequence[Cell],
    metric: Metric,
    *,
    best_per: str | None = None,
    sort: str | None = None,
    keys: Sequence[str] = (),
) -> list[Row]:
    """Return the cells that have the score, best first, or sorted by a column or a setting.

    Args:
        keys: the settings that have columns.

    Raises:
        ConfigError: if `best_per` or `sort` names nothing that the runs have.
    """
    settings = known(run for cell in cells for run in cell.runs)
    key = full_name(best_per, settings, option="best_per") if best_per else None
    rows = [_row(cell, metric) for cell in cells if cell.values(metric)]
    rows.sort(key=lambda row: metric.sort_key(row.score.mean))
    seen: set[Any] = set()
    rank = 1
    for place, row in enumerate(rows):
        if place and apart(row.score.mean, rows[place - 1].score.mean):
            rank = place + 1  # equal scores share a rank
        group = hashable(row.cell.runs[0].settings.get(key)) if key else None
        rows[place] = replace(row, rank=rank, best=group not in seen)
        seen.add(group)
    if sort and sort.removesuffix(" ± 95 %") not in ("#", metric.name):
        rows.sort(key=_sorting(sort, rows, settings, keys))
    return rows


def _row(cell: Cell, metric: Metric) -> Row:
    runs = [run for run in cell.runs if run.record and metric.name in run.scores]
    records = [run.record for run in runs if run.record]
    names = dict.fromkeys(name for run in runs for name in run.scores)
    return Row(
        rank=0,
        cell=cell,
        score=mean_interval(cell.values(metric)),
        tokens=round(fmean(record.tokens for record in records)),
        hours=fmean(record.train_seconds for record in records) / 3600,
        memory_gib=max(record.peak_memory_gib for record in records),
        steps=round(fmean(record.steps for record in records)),
        best=False,
        others={
            name: mean_interval(cell.values(other(name))) for name in names if name != metric.name
        },
    )


_BY_COST: dict[str, Callable[[Row], float]] = {
    "steps": lambda row: row.steps,
    "tokens": lambda row: row.tokens,
    "hours": lambda row: row.hours,
    "time": lambda row: row.hours,
    "memory": lambda row: row.memory_gib,
    "gib": lambda row: row.memory_gib,
    "seeds": lambda row: row.score.n,
}


def _sorting(
    sort: str, rows: Sequence[Row], settings: Sequence[str], keys: Sequence[str]
) -> Callable[[Row], Any]:
    """Return the sort key for a column's heading, otherwise for a setting of the runs."""
    heads = {name: key for key, name in headings(keys).items()}
    if sort not in heads:
        if any(sort in row.others for row in rows):
            sort_key, worst = other(sort).sort_key, float("inf")
            return lambda row: sort_key(row.others[sort].mean) if sort in row.others else worst
        if sort.lower() in _BY_COST:
            return _BY_COST[sort.lower()]
        if sort.lower() in ("run", "settings"):
            return lambda row: row.cell.label
    key = heads.get(sort) or full_name(sort, settings, option="sort")
    return lambda row: order(row.cell.runs[0].settings.get(key))


# The last step of each cell of a sweep with early stopping, and its score there. The leaderboard
# ranks only cells that were trained to the end. A cell stopped at a rung has a score too, which
# compares with others at the same step only.


_WORDS = {State.stopped: "stopped early"}


@dataclass(frozen=True)
class Reached:
    """The seeds of one setting whose last step is the same."""

    settings: dict[str, str]  # as in the sweep's command, without the seed
    state: str
    step: int | None  # None: nothing was trained yet
    score: Interval | None
    runs: tuple[str, ...]


def reached(runs: Runs, metric: Metric) -> list[Reached]:
    """Return the cells of sweeps with early stopping: the largest step first, then the best score.

    The list is empty if no sweep stopped cells early.
    """
    found: list[Reached] = []
    for sweep in runs.sweeps:
        if sweep.stopped or sweep.reached:
            names = set(sweep.runs)
            found += _of(sweep, [run for run in runs.runs if run.name in names], metric)
    worst = float("inf")
    return sorted(
        found,
        key=lambda one: (
            -1 if one.step is None else -one.step,
            metric.sort_key(one.score.mean) if one.score else worst,
        ),
    )


def _of(sweep: Sweep, runs: Sequence[Run], metric: Metric) -> list[Reached]:
    settings = _varying_overrides(runs)
    groups: dict[Any, dict[Any, list[tuple[Run, float | None]]]] = {}
    for run in runs:
        step, score = _end(run, sweep, metric)
        key = (tuple(settings[run.name].items()), run.state, step)
        groups.setdefault(key, {}).setdefault(run.seed, []).append((run, score))
    found = []
    for (own, state, step), seeds in groups.items():
        # A seed counts once.
        by_seed = [[score for _, score in pairs if score is not None] for pairs in seeds.values()]
        means = [sum(scores) / len(scores) for scores in by_seed if scores]
        found.append(
            Reached(
                settings=dict(own),
                state=_WORDS.get(state, state.value),
                step=step,
                score=mean_interval(means) if means else None,
                runs=tuple(run.name for pairs in seeds.values() for run, _ in pairs),
            )
        )
    return found


def _varying_overrides(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """Return the overrides of each run that differ between the runs, without the seed."""
    given = {run.name: _pairs(run.overrides) for run in runs}
    keys = dict.fromkeys(key for own in given.values() for key in own if key != "seed")
    varying = [key for key in keys if len({own.get(key) for own in given.values()}) > 1]
    return {name: {key: own.get(key, "") for key in varying} for name, own in given.items()}


def _pairs(overrides: Sequence[str]) -> dict[str, str]:
    parts = (override.lstrip("+").partition("=") for override in overrides)
    return {key: value for key, _, value in parts}


def _end(run: Run, sweep: Sweep, metric: Metric) -> tuple[int | None, float | None]:
    """Return the last step of a run, or its last rung, and the score there."""
    if run.record is not None:
        return run.record.steps, run.scores.get(metric.name)
    rungs = sweep.reached.get(run.name) or []
    last: Mapping[str, Any] = rungs[-1] if rungs else sweep.stopped.get(run.name, {})
    step, value = last.get("step"), last.get("value")
    if isinstance(step, int) and isinstance(value, int | float) and sweep.metric == metric.name:
        return step, float(value)
    rows = [row for row in curves(run) if isinstance(row.get("step"), int)]
    if isinstance(step, int):
        rows = [row for row in rows if row["step"] <= step]
    scores = [row[metric.name] for row in rows if isinstance(row.get(metric.name), int | float)]
    furthest = step if isinstance(step, int) else max((row["step"] for row in rows), default=None)
    return furthest, float(scores[-1]) if scores else None
