"""Make the page's leaderboard: a table to sort and filter, with each score drawn next to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from anima_exp.comparison import columns
from anima_exp.comparison.build import Comparison
from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.columns import in_column, score
from anima_exp.comparison.leaderboard import Row
from anima_exp.comparison.settings import format_value, hashable, headings, in_order
from anima_exp.display.console import duration
from anima_exp.display.html_page import Column, Line, Table, Value, Whisker, count
from anima_exp.metrics.intervals import Interval

# The costs of a row: steps, tokens, time and memory, with a column for each that differs.


@dataclass(frozen=True)
class Cost:
    heading: str
    of: Callable[[Row], float]
    written: Callable[[float], str]

    def text(self, row: Row) -> str:
        return self.written(self.of(row))


COSTS = (
    Cost("Steps", lambda row: row.steps, lambda value: f"{value:,.0f}"),
    Cost("Tokens", lambda row: row.tokens, columns.count),
    Cost("Time", lambda row: 3600 * row.hours, duration),
    Cost("GiB", lambda row: row.memory_gib, lambda value: f"{value:.2f}"),
)


def differing(rows: Sequence[Row]) -> list[Cost]:
    return [cost for cost in COSTS if not _same(cost, rows)]


def alike(rows: Sequence[Row]) -> str:
    """Return the costs that all rows share: `250 steps, 1 M tokens`."""
    words = {"Steps": "{} steps", "Tokens": "{} tokens", "Time": "{}", "GiB": "{} GiB"}
    same = [cost for cost in COSTS if _same(cost, rows)]
    return ", ".join(words[cost.heading].format(cost.text(rows[0])) for cost in same)


def _same(cost: Cost, rows: Sequence[Row]) -> bool:
    return len(rows) > 1 and len({cost.text(row) for row in rows}) == 1


# A score with its interval as a dot on a line, small enough for a table row.


WIDE, HIGH, EDGE = 144, 20, 7


class Whiskers:
    """Draw scores on a common scale. Scores far outside the others are drawn at its end."""

    def __init__(self, scores: Sequence[Interval]) -> None:
        means = [score.mean for score in scores]
        self.low = min(_low(score) for score in scores)
        self.high = max(_high(score) for score in scores)
        if len(means) > 3:
            # One run that diverged must not compress all others into one dot.
            first, _, third = quantiles(means, n=4)
            reach = 4 * (third - first)
            if reach > 0:
                self.low = max(self.low, median(means) - reach)
                self.high = min(self.high, median(means) + reach)

    def draw(self, score: Interval, text: str) -> Whisker:
        """Return the score in the units of the drawing. `text` is for screen readers."""
        reach = None
        if score.low is not None and score.high is not None:
            reach = (self._place(score.low), self._place(score.high))
        beyond = int(score.mean > self.high) - int(score.mean < self.low)
        return Whisker(text, WIDE, HIGH, EDGE, self._place(score.mean), reach, beyond)

    def _place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(EDGE + min(max(share, 0.0), 1.0) * (WIDE - 2 * EDGE), 1)


def _low(score: Interval) -> float:
    return score.mean if score.low is None else score.low


def _high(score: Interval) -> float:
    return score.mean if score.high is None else score.high


ROWS = 2000  # a browser can still sort and filter so many rows

Filled = tuple[Column, list[Value]]


def leaderboard(comparison: Comparison) -> Table:
    """Return the leaderboard table: rank, settings, score, other scores, costs."""
    rows = comparison.shown[:ROWS]
    filled = [
        (Column("Rank"), [_rank(row) for row in rows]),
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
    return Table(caption, heads, lines, name="leaderboard-table", sortable=True)


def interval_label(interval: Interval, metric: Metric) -> str:
    """Return a score with its interval in words, for screen readers."""
    if interval.low is None or interval.high is None:
        return f"{metric.number(interval.mean)}, not repeated"
    low, high = metric.number(interval.low), metric.number(interval.high)
    return f"{metric.number(interval.mean)}, between {low} and {high}"


def _scores(rows: Sequence[Row], metric: Metric) -> list[Filled]:
    repeated = any(row.score.n > 1 for row in rows)
    whiskers = Whiskers([row.score for row in rows])
    drawn = [whiskers.draw(row.score, interval_label(row.score, metric)) for row in rows]
    return [
        (
            Column(metric.name + (" ± 95 %" if repeated else ""), "number score"),
            [Value(score(metric, row.score), key=row.score.mean) for row in rows],
        ),
        (Column("", "drawn"), [Value(whisker=one) for one in drawn]),
    ]


def _settings(rows: Sequence[Row], keys: Sequence[str]) -> list[Filled]:
    """Return the columns of the settings, sorted by the order of their levels."""
    if not keys:
        return [(Column("Run", "value"), [Value(r.cell.label, key=r.cell.label) for r in rows])]
    names, found = headings(keys), []
    for key in keys:
        values = [row.cell.settings.get(key) for row in rows]
        places = {hashable(value): place for place, value in enumerate(in_order(values))}
        cells = [Value(format_value(value), key=places[hashable(value)]) for value in values]
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
        for cost in differing(rows)
    ]
    if any(row.score.n > 1 for row in rows):
        seeds = [Value(row.score.n, key=row.score.n) for row in rows]
        found.insert(0, (Column("Seeds", "number"), seeds))
    return found


def _rank(row: Row) -> Value:
    return Value(row.rank, key=row.rank, unseen=" (best)" if row.best else "")


def _words(row: Row) -> str:
    """Return the text in which the filter of the page searches a row."""
    full = [f"{key}={format_value(value)}" for key, value in row.cell.settings.items()]
    return " ".join([row.cell.label, *full, *(run.name for run in row.cell.runs)])
