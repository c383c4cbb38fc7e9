"""The leaderboard's rows -> a table to sort and to filter, with each score drawn beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anima_exp.compare.comparison import Comparison
from anima_exp.compare.leaderboard import Row
from anima_exp.compare.metric import Metric
from anima_exp.compare.page.table import Column, Line, Value, table
from anima_exp.compare.page.whisker import Whiskers
from anima_exp.compare.page.words import count, escaped
from anima_exp.compare.settings import comparable, headings, in_order, written
from anima_exp.compare.statistics import Interval

ROWS = 2000  # a browser still sorts and filters so many at once


@dataclass(frozen=True)
class Cost:
    name: str
    of: Callable[[Row], float]
    written: Callable[[float], str]

    def text(self, row: Row) -> str:
        return self.written(self.of(row))


def _few(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}".rstrip(".")


def _thousands(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:#.3g}".rstrip(".") + f" {letter}"
    return f"{value:.0f}"


_COSTS = (
    Cost("Steps", lambda row: row.steps, lambda value: f"{value:,.0f}"),
    Cost("Tokens", lambda row: row.tokens, _thousands),
    Cost("Hours", lambda row: row.hours, _few),
    Cost("GiB", lambda row: row.memory_gib, _few),
)


def same(cost: Cost, rows: Sequence[Row]) -> bool:
    """Whether it is the same in every row, so that a column would say nothing."""
    return len(rows) > 1 and len({cost.text(row) for row in rows}) == 1


def constant(rows: Sequence[Row]) -> str:
    """What all rows cost alike: `250 steps, 1.00 M tokens`."""
    return ", ".join(f"{cost.text(rows[0])} {cost.name.lower().replace('gib', 'GiB')}"
                     for cost in _COSTS if same(cost, rows))  # fmt: skip


def leaderboard(comparison: Comparison) -> str:
    rows, metric = comparison.shown[:ROWS], comparison.metric
    names = headings(comparison.keys)
    seeds = any(row.score.n > 1 for row in rows)
    costs = [cost for cost in _COSTS if not same(cost, rows)]
    others = list(dict.fromkeys(name for row in rows for name in row.others))
    whiskers = Whiskers([row.score for row in rows])
    places = {
        key: {
            comparable(value): place
            for place, value in enumerate(in_order(row.cell.settings.get(key) for row in rows))
        }
        for key in comparison.keys
    }
    columns = [
        Column("Rank"),
        Column(metric.name + (" ± 95 %" if seeds else ""), "number score"),
        Column(""),
        *(Column(names[key], "value") for key in comparison.keys),
        *([] if comparison.keys else [Column("Run", "value")]),
        *(Column(name, "number") for name in others),
        *([Column("Seeds", "number")] if seeds else []),
        *(Column(cost.name, "number") for cost in costs),
    ]
    lines = [
        Line(
            [
                Value(row.rank, key=row.rank, html=_rank(row)),
                Value(score(row.score, metric), key=row.score.mean),
                Value(html=whiskers.draw(row.score, escaped(reach(row.score, metric)))),
                *(
                    Value(
                        written(row.cell.settings.get(key)),
                        key=places[key][comparable(row.cell.settings.get(key))],
                    )
                    for key in comparison.keys
                ),
                *([] if comparison.keys else [Value(row.cell.label, key=row.cell.label)]),
                *(
                    Value(f"{row.others[name].mean:.4g}", key=row.others[name].mean)
                    if name in row.others
                    else Value("–", key="")
                    for name in others
                ),
                *([Value(row.score.n, key=row.score.n)] if seeds else []),
                *(Value(cost.text(row), key=cost.of(row)) for cost in costs),
            ],
            style="best" if row.best else "",
            text=_words(row),
        )
        for row in rows
    ]  # fmt: skip
    caption = f"{count(len(rows), 'cell')}, ranked by {metric.name}"
    return table(caption, columns, lines, name="leaderboard-table", sortable=True)


def score(interval: Interval, metric: Metric) -> str:
    """`0.5477 ± 0.0012`, `46.0 ± 1.2 %`; the mean alone where nothing was repeated."""
    mean = metric.number(interval.mean)
    if interval.half is None:
        return mean
    half = metric.number(interval.half)
    return f"{mean.removesuffix(' %')} ± {half}"


def reach(interval: Interval, metric: Metric) -> str:
    """The same for a reader who hears it."""
    if interval.low is None or interval.high is None:
        return f"{metric.number(interval.mean)}, not repeated"
    low, high = metric.number(interval.low), metric.number(interval.high)
    return f"{metric.number(interval.mean)}, between {low} and {high}"


def _rank(row: Row) -> str | None:
    return f'{row.rank}<span class="unseen"> (best)</span>' if row.best else None


def _words(row: Row) -> str:
    full = [f"{key}={written(value)}" for key, value in row.cell.settings.items()]
    return " ".join([row.cell.label, *full, *(run.name for run in row.cell.runs)])
