"""Match the rows of a paper's table with our runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anima_exp.comparison.cells import Cell
from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.runs import Published, Run
from anima_exp.comparison.settings import hashable
from anima_exp.config.scale import SCALED, scale_count
from anima_exp.metrics.intervals import Interval, mean_interval


@dataclass(frozen=True)
class ReferenceComparison:
    table: Published
    matched: list[str]  # the settings by which our runs are matched with a row
    rows: list[tuple[dict[str, Any], float, Interval | None]]


def matched_rows(
    published: Published, cells: Sequence[Cell], metric: Metric
) -> list[tuple[dict[str, Any], float, Interval | None]]:
    """Return (the paper's settings, its value, our interval over the matching runs or None)."""
    return match_reference_rows(published, cells, metric).rows


def match_reference_rows(
    published: Published, cells: Sequence[Cell], metric: Metric
) -> ReferenceComparison:
    """Match rows by the paper's settings that our runs have not replaced.

    A setting counts as replaced if all our runs have the same value and the table does not have it,
    as with one small data set in place of the paper's eight.
    """
    # One run represents the repetitions of a seed, which have the same settings.
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


def _same(run: Run, key: str, theirs: object) -> bool:
    """Return whether the run has the paper's value, or at rehearsal_scale=0.1 a tenth of it."""
    scale = run.settings.get("rehearsal_scale", 1.0)
    if key in SCALED and scale != 1.0 and isinstance(theirs, int):
        theirs = scale_count(theirs, scale)
    return bool(hashable(run.settings.get(key)) == hashable(theirs))
