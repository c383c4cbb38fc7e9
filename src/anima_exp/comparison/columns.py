"""Make the columns of the leaderboard's table, for the terminal, Markdown and LaTeX."""

from collections.abc import Iterable, Sequence
from typing import Any

from anima_exp.comparison.baseline import Baseline
from anima_exp.comparison.build import Comparison
from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.leaderboard import Reached, Row
from anima_exp.comparison.settings import format_value, headings
from anima_exp.display.console import duration
from anima_exp.display.tables import Column
from anima_exp.metrics.intervals import Interval

_FOLDED = 40


def columns(comparison: Comparison, rows: Sequence[Row], *, brief: bool = False) -> list[Column]:
    """Return a column for each setting that differs, the scores and the costs.

    Args:
        brief: use one column for all settings, if separate columns do not fit.
    """
    names, one = headings(comparison.keys), comparison.metric
    found = [Column("#", [str(row.rank) for row in rows], whole=True)]
    if brief or not comparison.keys:
        heading = "settings" if comparison.keys else "run"
        labels = [row.cell.label for row in rows]
        found.append(Column(heading, labels, right=False, at_most=_FOLDED))
    else:
        found += [_setting(names[key], [row.cell.settings[key] for row in rows]) for key in names]
    found.append(Column(one.name, [score(one, row.score) for row in rows], whole=True))
    if any(row.score.n > 1 for row in rows):
        found.append(Column("seeds", [str(row.score.n) for row in rows], dropped=1))
    for place, name in enumerate(dict.fromkeys(name for row in rows for name in row.others)):
        values = [row.others[name] for row in rows if name in row.others]
        other = in_column(comparison.described(name), values)
        texts = [score(other, row.others[name]) if name in row.others else "-" for row in rows]
        found.append(Column(name, texts, dropped=5 + place))
    return [
        *found,
        Column("tokens", [count(row.tokens) for row in rows], dropped=4),
        Column("time", [duration(3600 * row.hours) for row in rows], dropped=2),
        Column("GiB", [f"{row.memory_gib:.2f}" for row in rows], dropped=3),
    ]


def _setting(name: str, values: Sequence[Any]) -> Column:
    numbers = all(isinstance(value, int | float) for value in values)
    return Column(name, [format_value(value) for value in values], right=numbers)


def score(metric: Metric, interval: Interval) -> str:
    """Return `0.5477 ± 0.0123` or `46.0 ± 1.2 %`; without repeats only the value."""
    metric = _fixed(metric, interval)
    if interval.half is None:
        return metric.number(interval.mean)
    return f"{metric.bare(interval.mean)} ± {metric.bare(interval.half)}{metric.form.unit}"


def difference(metric: Metric, interval: Interval) -> str:
    """Return a difference: `-0.0312 ± 0.0050`, `+3.1 ± 0.4 pp`."""
    metric = _fixed(metric, interval)
    if interval.half is None:
        return metric.difference(interval.mean)
    mean, half = metric.bare_difference(interval.mean), metric.bare(interval.half)
    return f"{mean} ± {half}{metric.difference_unit}"


def differences(baseline: Baseline, metric: Metric) -> list[Column]:
    """Return the table of differences from the baseline."""
    found = baseline.differences
    texts = [difference(metric, one.score) if one.score else "-" for one in found]
    return [
        Column(f"against {baseline.label}", [one.label for one in found], right=False),
        Column(f"difference in {metric.name}", texts),
        Column("pairs", [str(one.pairs) for one in found]),
        Column("", [one.word for one in found], right=False),
    ]


def stages(cells: Sequence[Reached], metric: Metric) -> list[Column]:
    """Return the table of a sweep with early stopping: settings, last step and score per cell."""
    keys = list(dict.fromkeys(key for one in cells for key in one.settings))
    names = headings(keys)
    metric = in_column(metric, [one.score for one in cells if one.score])
    steps = ["-" if one.step is None else f"{one.step:,}" for one in cells]
    return [
        *(Column(names[key], [one.settings.get(key, "") for one in cells]) for key in keys),
        Column("state", [one.state for one in cells], right=False),
        Column("step", steps),
        Column(metric.name, [score(metric, one.score) if one.score else "-" for one in cells]),
        Column("seeds", [str(one.score.n if one.score else 0) for one in cells]),
    ]


def stages_caption(metric: Metric) -> str:
    return f"Last step of every cell; {metric.name} can be compared at equal steps only"


def in_column(metric: Metric, intervals: Iterable[Interval]) -> Metric:
    """Return `metric` with one number of decimals for all of these scores."""
    return metric.in_column(interval.mean for interval in intervals)


def _fixed(metric: Metric, interval: Interval) -> Metric:
    return in_column(metric, [interval]) if metric.column is None else metric


def count(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.0f}"
