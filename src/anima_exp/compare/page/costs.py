"""What a row cost: steps, tokens, time, memory; a column for each that differs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anima_exp.compare import columns
from anima_exp.compare.leaderboard import Row
from anima_exp.results.screen import duration


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
    """What every row cost: `250 steps, 1 M tokens`."""
    words = {"Steps": "{} steps", "Tokens": "{} tokens", "Time": "{}", "GiB": "{} GiB"}
    same = [cost for cost in COSTS if _same(cost, rows)]
    return ", ".join(words[cost.heading].format(cost.text(rows[0])) for cost in same)


def _same(cost: Cost, rows: Sequence[Row]) -> bool:
    return len(rows) > 1 and len({cost.text(row) for row in rows}) == 1
