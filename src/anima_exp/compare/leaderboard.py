"""Cells -> rows of the leaderboard: score, cost, rank."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from anima_exp.compare.cells import Cell
from anima_exp.compare.metric import Metric
from anima_exp.compare.metric import metric as other
from anima_exp.compare.settings import comparable, full_name, headings, known, order
from anima_exp.compare.statistics import Interval, apart, mean_interval


@dataclass(frozen=True)
class Row:
    """One cell. What it cost is the mean over its runs; memory is the most any of them took."""

    rank: int  # by the metric, however the rows are sorted
    cell: Cell
    score: Interval
    tokens: int
    hours: float  # of training
    memory_gib: float
    steps: int
    best: bool  # of all, or of those with the same value of `best_per`
    others: dict[str, Interval] = field(default_factory=dict)  # the other scores


def leaderboard(
    cells: Sequence[Cell],
    metric: Metric,
    *,
    best_per: str | None = None,
    sort: str | None = None,
    keys: Sequence[str] = (),
) -> list[Row]:
    """The cells that have the score, best first, or by `sort`: the head of a column, or a setting.

    Args:
        keys: the settings that have columns.

    Raises:
        ConfigError: `best_per` or `sort` names nothing that the runs have.
    """
    settings = known(run for cell in cells for run in cell.runs)
    key = full_name(best_per, settings, option="--best-per") if best_per else None
    rows = [_row(cell, metric) for cell in cells if cell.values(metric)]
    rows.sort(key=lambda row: metric.worse_by(row.score.mean))
    seen: set[Any] = set()
    rank = 1
    for place, row in enumerate(rows):
        if place and apart(row.score.mean, rows[place - 1].score.mean):
            rank = place + 1  # equal scores share a rank
        group = comparable(row.cell.runs[0].settings.get(key)) if key else None
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
    """What the word `sort` means at the head of a column; else any setting of the runs."""
    heads = {name: key for key, name in headings(keys).items()}
    if sort not in heads:
        if any(sort in row.others for row in rows):
            worse_by, worst = other(sort).worse_by, float("inf")
            return lambda row: worse_by(row.others[sort].mean) if sort in row.others else worst
        if sort.lower() in _BY_COST:
            return _BY_COST[sort.lower()]
        if sort.lower() in ("run", "settings"):
            return lambda row: row.cell.label
    key = heads.get(sort) or full_name(sort, settings, option="--sort")
    return lambda row: order(row.cell.runs[0].settings.get(key))
