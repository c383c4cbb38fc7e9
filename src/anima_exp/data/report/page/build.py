"""Build the HTML page of the report on a data set."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anima_exp.data.report.content import DataReport, Part, ShownRow
from anima_exp.data.report.lengths import QUANTILES, STEP, histogram, quantiles, truncation
from anima_exp.display import html_page
from anima_exp.display.html_page import (
    Column,
    Count,
    Line,
    Plot,
    Section,
    Table,
    Value,
    count,
    cut,
    sanitize_text,
)

_SCRIPTS = ("histograms", "parts")
_MAX_CHARACTERS = 20_000  # of a part of a row


def write_page(path: Path, report: DataReport) -> None:
    """Write the page to `path`, whole or not at all.

    Raises:
        RunError: if `path` cannot be written.
    """
    html_page.write(path, page(report, now=datetime.now(UTC)))


def page(report: DataReport, *, now: datetime) -> str:
    """Return the HTML of the page."""
    return html_page.page(
        Path(__file__).parent / "templates" / "data.html.jinja",
        title=f"Data: {sanitize_text(report.name)}",
        header=_header(report, now),
        sections=list(_sections(report)),
        data={"histograms": _histograms(report)},
        scripts=[Path(__file__).parent / "scripts" / f"{name}.js" for name in _SCRIPTS],
        program="anima-exp data",
    )


def _header(report: DataReport, now: datetime) -> dict[str, object]:
    total = sum(one.tokens for one in report.tokens)
    return {
        "answer": f"{report.trained_share:.1%} of {total:,} tokens are trained on.",
        "size": f"{report.size}.",
        "counts": [
            Count(name, number, bad=name == "skipped" and number > 0)
            for name, number in report.counts.items()
        ],
        "made": f"Page made {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC.",
    }


def _sections(report: DataReport) -> Iterator[Section]:
    yield Section(
        "summary",
        "Summary",
        "What is trained on",
        "summary.html.jinja",
        {"facts": _facts(report), "tokens": _tokens(report)},
    )
    yield Section(
        "lengths",
        "Lengths",
        "Length in tokens",
        "lengths.html.jinja",
        {"plots": _plots(report), "table": _quantiles(report)},
        lead="Before anything is cut off. Each bar covers a wider range than the one to its left.",
    )
    if report.limits:
        yield Section(
            "limits",
            "Limits",
            report.limits_title,
            "limits.html.jinja",
            {"table": _truncations(report), "command": report.recommendation},
            lead=f"Recommended: the smallest multiples of {STEP} that keep {report.kept} complete.",
        )
    yield Section(
        "problems",
        "Problems",
        "Problems",
        "problems.html.jinja",
        {
            "table": _problems(report),
            "remarks": [f"{heading}: {line}" for heading, line in report.remarks.items()]
            + ([report.split_error] if report.split_error else []),
            "skipped": report.skipped,
        },
    )
    if report.rows:
        yield Section(
            "rows",
            "Rows",
            "Rows as the model reads them",
            "rows.html.jinja",
            {"legend": _legend(report), "rows": [_row(row) for row in report.rows]},
            lead="Open a row. Point at a part of it, or tap it, for its message and its tokens.",
        )


def _facts(report: DataReport) -> Table:
    return _table(
        "Summary",
        [Column("What", "name"), Column("Value")],
        [(heading, line) for heading, line in report.facts.items()],
    )


def _tokens(report: DataReport) -> Table:
    total = max(sum(one.tokens for one in report.tokens), 1)
    return _table(
        "Tokens by where they come from",
        [Column("Part"), Column("tokens", "number"), Column("of all", "number")],
        [(one.label, f"{one.tokens:,}", f"{one.tokens / total:.1%}") for one in report.tokens],
    )


def _quantiles(report: DataReport) -> Table:
    names = [f"{share:.0%} are at most" for share in QUANTILES] + ["longest"]
    values = [quantiles(lengths) for lengths in report.lengths.values()]
    return _table(
        "Length in tokens",
        [Column("Proportion"), *(Column(name, "number") for name in report.lengths)],
        [
            (name, *(f"{value:,.0f}" for value in each))
            for name, *each in zip(names, *values, strict=True)
        ],
    )


def _truncations(report: DataReport) -> Table:
    lines = []
    for one in report.limits:
        for which, value in (("", one.value), (" (recommended)", one.recommended)):
            over = truncation(one.lengths, value)
            lines.append(
                (
                    f"{one.key}{which}",
                    f"{value:,}",
                    f"{over.rows:,}",
                    f"{over.rows_proportion:.2%}",
                    f"{over.tokens:,}",
                    f"{over.tokens_proportion:.2%}",
                )
            )
    rows, tokens = report.limit_columns
    headings = ("limit", rows, "of all", tokens, "of all")
    columns = [Column("Setting"), *(Column(name, "number") for name in headings)]
    return _table(report.limits_title, columns, lines)


def _problems(report: DataReport) -> Table:
    return _table(
        "Problems",
        [Column("Problem"), Column("rows", "number")],
        [(problem, f"{number:,}") for problem, number in report.problems.items()],
    )


def _table(caption: str, columns: Sequence[Column], lines: Sequence[Sequence[str]]) -> Table:
    return Table(caption, columns, [Line([Value(text) for text in line]) for line in lines])


def _plots(report: DataReport) -> list[dict[str, object]]:
    return [
        {"name": name, "plot": Plot(f"lengths-{number}", f"Histogram of the lengths: {name}")}
        for number, name in enumerate(report.lengths)
    ]


def _histograms(report: DataReport) -> list[dict[str, Any]]:
    """Return what the scripts draw, in the order of the plots."""
    limits = {id(one.lengths): one for one in report.limits}
    found = []
    for lengths in report.lengths.values():
        edges, counts = histogram(lengths)
        limit = limits.get(id(lengths))
        found.append({"edges": edges, "counts": counts, "limit": limit.value if limit else None})
    return found


def _legend(report: DataReport) -> list[Part]:
    """Return one part of each kind that the rows have."""
    return [*{part.label: part for row in report.rows for part in row.parts}.values()]


def _row(row: ShownRow) -> dict[str, object]:
    heading = f"{row.heading}: {row.reason}" if row.reason else row.heading
    return {
        "heading": heading,
        "description": f"{row.description}.",
        "parts": [
            {
                "style": "answer" if part.trained else part.style,
                "trained": part.trained,
                "about": _about(part),
                "text": cut(part.text, _MAX_CHARACTERS),
            }
            for part in row.parts
        ],
    }


def _about(part: Part) -> str:
    where = f"message {part.message}, " if part.message > 0 else ""
    return f"{where}{part.label}: {count(part.tokens, 'token')}"
