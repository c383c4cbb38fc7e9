"""A record as a small table of scores before and after training: text, or HTML for a notebook."""

from typing import TYPE_CHECKING

from anima_exp.display.notebook import html_table, text_table
from anima_exp.display.tables import Column
from anima_exp.metrics.metric import metric

if TYPE_CHECKING:
    from anima_exp.results.record import Record


def text(record: "Record") -> str:
    """Return a line about the run, and the table."""
    return f"{_caption(record)}\n{text_table(_columns(record))}"


def html(record: "Record") -> str:
    """Return the table for a notebook."""
    return html_table(_columns(record), caption=_caption(record))


def _caption(record: "Record") -> str:
    return (
        f"{record.name}: {record.steps:,} steps, {record.tokens:,} tokens, "
        f"{record.peak_memory_gib:.2f} GiB"
    )


def _columns(record: "Record") -> list[Column]:
    def column(heading: str, scores: dict[str, float], intervals: dict[str, list[float]]) -> Column:
        found = {
            name: metric(name, record.metrics).with_interval(scores[name], intervals.get(name))
            for name in scores
        }
        return Column(heading, [found.get(name, "-") for name in record.scores])

    after = column("after", record.scores, record.intervals)
    names = Column("score", list(record.scores), right=False)
    return [names, column("before", record.scores_before, {}), after]
