"""A paper's table and our cells -> the same rows side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anima_exp.comparison.cells import Cell
from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.runs import Published, Run
from anima_exp.comparison.settings import hashable
from anima_exp.config.scale import SCALED, times
from anima_exp.metrics.intervals import Interval, mean_interval


@dataclass(frozen=True)
class ReferenceComparison:
    table: Published
    matched: list[str]  # the settings that decided which of our runs stand beside a row
    rows: list[tuple[dict[str, Any], float, Interval | None]]


def beside(
    published: Published, cells: Sequence[Cell], metric: Metric
) -> list[tuple[dict[str, Any], float, Interval | None]]:
    """(the paper's settings, its value, ours): ours over all runs that match; None without one."""
    return side_by_side(published, cells, metric).rows


def side_by_side(
    published: Published, cells: Sequence[Cell], metric: Metric
) -> ReferenceComparison:
    """Rows are matched by the settings of theirs that we did not replace.

    A setting counts as replaced where all our runs have one value and the table does not have it:
    one small data set in place of the paper's eight.
    """
    # One run stands for a seed's repetitions, which have the same settings.
    firsts = [
        (score, next(run for run in cell.scored(metric) if hashable(run.seed) == seed))
        for cell in cells
        for seed, score in cell.by_seed(metric).items()
    ]
    runs = [run for _, run in firsts]
    settings = [{k: v for k, v in row.items() if k != "value"} for row in published.rows]
    matched = []
    for key in dict.fromkeys(key for row in settings for key in row):
        ours = {hashable(run.settings.get(key)) for run in runs}
        shared = any(_same(run, key, row[key]) for run in runs for row in settings if key in row)
        if len(ours) > 1 or shared:
            matched.append(key)
    rows: list[tuple[dict[str, Any], float, Interval | None]] = []
    for row, published_row in zip(settings, published.rows, strict=True):
        keys = [key for key in matched if key in row]
        values = [
            score
            for score, run in firsts
            if keys and all(_same(run, key, row[key]) for key in keys)
        ]
        value = float(published_row["value"])
        rows.append((row, value, mean_interval(values) if values else None))
    return ReferenceComparison(published, matched, rows)


def _same(run: Run, key: str, theirs: Any) -> bool:
    """Whether the run has the paper's value, or at rehearsal_scale=0.1 a tenth of it."""
    scale = run.settings.get("rehearsal_scale", 1.0)
    if key in SCALED and scale != 1.0 and isinstance(theirs, int):
        theirs = times(theirs, scale)
    return bool(hashable(run.settings.get(key)) == hashable(theirs))
