"""The leaderboard's rows -> a table to sort and to filter, with each score drawn beside it."""

from collections.abc import Sequence

from anima_exp.compare.columns import in_column, score
from anima_exp.compare.comparison import Comparison
from anima_exp.compare.leaderboard import Row
from anima_exp.compare.metric import Metric
from anima_exp.compare.page import costs
from anima_exp.compare.page.whisker import Whiskers
from anima_exp.compare.settings import comparable, headings, in_order, written
from anima_exp.compare.statistics import Interval
from anima_exp.page.table import Column, Line, Value, table
from anima_exp.page.words import count, escaped

ROWS = 2000  # a browser still sorts and filters so many at once

Filled = tuple[Column, list[Value]]


def leaderboard(comparison: Comparison) -> str:
    """The settings come first, as in the terminal: a score means nothing without them."""
    rows = comparison.shown[:ROWS]
    filled = [
        (Column("Rank"), [Value(row.rank, key=row.rank, html=_rank(row)) for row in rows]),
        *_settings(rows, comparison.keys),
        *_scores(rows, comparison.metric),
        *_others(rows, comparison),
        *_costs(rows),
    ]
    values = zip(*(column for _, column in filled), strict=True)
    lines = [
        Line(line, style="best" if row.best else "", text=_words(row))
        for row, line in zip(rows, values, strict=True)
    ]
    caption = f"{count(len(rows), 'cell')}, ranked by {comparison.metric.name}"
    heads = [column for column, _ in filled]
    return table(caption, heads, lines, name="leaderboard-table", sortable=True)


def reach(interval: Interval, metric: Metric) -> str:
    """A score with its interval, for a reader who hears it."""
    if interval.low is None or interval.high is None:
        return f"{metric.number(interval.mean)}, not repeated"
    low, high = metric.number(interval.low), metric.number(interval.high)
    return f"{metric.number(interval.mean)}, between {low} and {high}"


def _scores(rows: Sequence[Row], metric: Metric) -> list[Filled]:
    repeated = any(row.score.n > 1 for row in rows)
    whiskers = Whiskers([row.score for row in rows])
    drawn = [whiskers.draw(row.score, escaped(reach(row.score, metric))) for row in rows]
    return [
        (
            Column(metric.name + (" ± 95 %" if repeated else ""), "number score"),
            [Value(score(metric, row.score), key=row.score.mean) for row in rows],
        ),
        (Column("", "drawn"), [Value(html=html) for html in drawn]),
    ]


def _settings(rows: Sequence[Row], keys: Sequence[str]) -> list[Filled]:
    """Sorted as one would count, so by their place among the levels."""
    if not keys:
        return [(Column("Run", "value"), [Value(r.cell.label, key=r.cell.label) for r in rows])]
    names, found = headings(keys), []
    for key in keys:
        values = [row.cell.settings.get(key) for row in rows]
        places = {comparable(value): place for place, value in enumerate(in_order(values))}
        cells = [Value(written(value), key=places[comparable(value)]) for value in values]
        found.append((Column(names[key], "value"), cells))
    return found


def _others(rows: Sequence[Row], comparison: Comparison) -> list[Filled]:
    found = []
    for name in dict.fromkeys(name for row in rows for name in row.others):
        values = [row.others[name] for row in rows if name in row.others]
        other = in_column(comparison.described(name), values)
        cells = [
            Value(score(other, row.others[name]), key=row.others[name].mean)
            if name in row.others
            else Value("–", key="")
            for row in rows
        ]
        found.append((Column(name, "number"), cells))
    return found


def _costs(rows: Sequence[Row]) -> list[Filled]:
    found = [
        (Column(cost.heading, "number"), [Value(cost.text(r), key=cost.of(r)) for r in rows])
        for cost in costs.differing(rows)
    ]
    if any(row.score.n > 1 for row in rows):
        seeds = [Value(row.score.n, key=row.score.n) for row in rows]
        found.insert(0, (Column("Seeds", "number"), seeds))
    return found


def _rank(row: Row) -> str | None:
    return f'{row.rank}<span class="unseen"> (best)</span>' if row.best else None


def _words(row: Row) -> str:
    """What a filter finds a row by."""
    full = [f"{key}={written(value)}" for key, value in row.cell.settings.items()]
    return " ".join([row.cell.label, *full, *(run.name for run in row.cell.runs)])
