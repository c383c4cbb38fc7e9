"""Rows of the leaderboard -> columns of text, the same for the terminal, Markdown and LaTeX."""

from collections.abc import Sequence
from typing import Any

from anima_exp.compare.comparison import Comparison
from anima_exp.compare.leaderboard import Row
from anima_exp.compare.metric import Metric, metric
from anima_exp.compare.settings import headings, written
from anima_exp.compare.statistics import Interval
from anima_exp.results.screen import duration
from anima_exp.tables.column import Column

_FOLDED = 40


def columns(comparison: Comparison, rows: Sequence[Row], *, brief: bool = False) -> list[Column]:
    """A column for each setting that differs, the scores, the costs.

    Args:
        brief: one column for all settings, where they would not fit side by side.
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
        other = metric(name)
        texts = [score(other, row.others[name]) if name in row.others else "-" for row in rows]
        found.append(Column(name, texts, dropped=5 + place))
    return [
        *found,
        Column("tokens", [count(row.tokens) for row in rows], dropped=4),
        Column("time", [duration(3600 * row.hours) for row in rows], dropped=2),
        Column("GiB", [f"{row.memory_gib:.3g}" for row in rows], dropped=3),
    ]


def _setting(name: str, values: Sequence[Any]) -> Column:
    numbers = all(isinstance(value, int | float) for value in values)
    return Column(name, [written(value) for value in values], right=numbers)


def score(metric: Metric, interval: Interval) -> str:
    """`0.5477 ± 0.0123`, `46.0 ± 1.2 %`; without repeats the value alone."""
    mean = metric.number(interval.mean)
    if interval.half is None:
        return mean
    unit = " %" if mean.endswith(" %") else ""
    half = metric.number(interval.half).removesuffix(" %")
    return f"{mean.removesuffix(' %')} ± {half}{unit}"


def difference(metric: Metric, interval: Interval) -> str:
    """`-0.0312 ± 0.0050`, `+3.1 ± 0.4 pp`."""
    mean = metric.difference(interval.mean)
    if interval.half is None:
        return mean
    unit = " pp" if mean.endswith(" pp") else ""
    half = metric.difference(interval.half).lstrip("+").removesuffix(" pp")
    return f"{mean.removesuffix(' pp')} ± {half}{unit}"


def count(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.0f}"
