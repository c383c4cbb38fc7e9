"""Build the HTML page of a tournament."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anima_exp.display import html_page
from anima_exp.display.html_page import (
    Column,
    Count,
    Line,
    Plot,
    Section,
    Table,
    Value,
    sanitize_text,
)
from anima_exp.tournament import report
from anima_exp.tournament.rate import Tournament
from anima_exp.tournament.report import Titled

# The plain values from which the plots are drawn.


MATRIX = 40  # players up to which a heat map is readable; of more, the strongest are shown


def plotted(result: Tournament) -> dict[str, Any]:
    """Return the values of each plot by name: intervals, or fields in rows and columns."""
    elo = {one.player: one for one in result.elo}
    strongest = result.players[:MATRIX]
    return {
        "intervals": {
            "ratings": [
                {
                    "name": sanitize_text(one.player),
                    "mean": one.rating,
                    "low": one.low,
                    "high": one.high,
                    "other": elo[one.player].mean,
                    "spread": elo[one.player].deviation,
                }
                for one in result.bradley_terry.strengths
            ],
            "percents": [
                {
                    "name": sanitize_text(one.player),
                    "mean": one.mean,
                    "low": one.mean - (one.half or 0.0),
                    "high": one.mean + (one.half or 0.0),
                }
                for one in result.percents
                if one.mean is not None
            ],
        },
        "reference": sanitize_text(result.reference),
        "fields": {
            "matrix": {
                "rows": [sanitize_text(name) for name in strongest],
                "columns": [sanitize_text(name) for name in strongest],
                "values": [
                    [
                        round(record.net, 2)
                        if (record := result.matrix.get(row, {}).get(column))
                        else None
                        for column in strongest
                    ]
                    for row in strongest
                ],
                "kind": "net",
            },
            **_categories(result),
        },
    }


def _net(result: Tournament, row: str, column: str) -> float | None:
    record = result.matrix.get(row, {}).get(column)
    return round(record.net, 2) if record else None


def _categories(result: Tournament) -> dict[str, Any]:
    percent = result.relative == result.verdicts and bool(result.percents)
    names = [one.player for one in result.percents] if percent else result.players
    names = names[:MATRIX]
    values = [one.percents if percent else one.win_rates for one in result.categories]
    share = 1 if percent else 100
    return {
        "categories": {
            "rows": [sanitize_text(name) for name in names],
            "columns": [sanitize_text(one.name) for one in result.categories],
            "values": [
                [round(share * one[name]) if name in one else None for one in values]
                for name in names
            ],
            "kind": "percent",
        }
    }


# The head of the page: the conclusion, the counts behind it, and notes.


TITLE = "A tournament of {count} models"


def header(result: Tournament, now: datetime) -> dict[str, object]:
    # The page shows "(99.3 % interval +269 to +427, ...)" in smaller type below.
    how = re.search(r" \(([^()]* interval [^()]*)\)\.$", result.conclusion)
    return {
        "answer": result.conclusion.replace(how[0], ".") if how else result.conclusion,
        "how": how[1] if how else "",
        "counts": [
            Count("players", len(result.players)),
            Count("questions", result.questions),
            Count("verdicts", result.verdicts),
            Count("not parsed", result.unparsed),
        ],
        "notes": result.notes,
        "made": f"Page made {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC.",
    }


# The sections of the page. A section without content is left out.


def sections(result: Tournament) -> Iterator[Section]:
    if result.percents:
        of = result.reference
        yield Section(
            "percents",
            "Percentages",
            f"In per cent of {of}",
            _PLOTTED,
            {
                "plot": _plot("percents", f"Scores in per cent of {of}'s"),
                "table": _table(report.percentages(result)),
            },
            lead=f"Mean over both orders, with its 95 % interval; {of} is 100. In the table, shown "
            f"first and shown second are the positions of {of}'s answer.",
        )
    yield Section(
        "ratings",
        "Ratings",
        "Ratings",
        _PLOTTED,
        {
            "plot": _plot("ratings", "Ratings with their intervals"),
            "table": _table(report.ratings(result)),
        },
        lead=_ratings_lead(result),
    )
    width = 4 * min(len(result.players), MATRIX) + 8
    yield Section(
        "matrix",
        "Win matrix",
        "Who beats whom",
        _PLOTTED,
        {
            "plot": _plot("matrix", "Win matrix", width_rem=width),
            "table": _table(report.matrix(result)),
        },
        lead=_matrix_lead(result),
    )
    if result.categories:
        one = report.by_category(result)
        width = 4 * len(result.categories) + 10
        yield Section(
            "categories",
            "Categories",
            "By category of question",
            _PLOTTED,
            {"plot": _plot("categories", one.title, width_rem=width), "table": _table(one)},
            lead=f"{one.title}. {_categories_lead(result)}",
        )
    yield Section(
        "bias",
        "The judge",
        "Biases of the judge",
        "bias.html.jinja",
        {"sentences": list(report.biases(result)), "table": _swaps(result)},
    )


_PLOTTED = "plot_and_table.html.jinja"


def _matrix_lead(result: Tournament) -> str:
    lead = (
        "(Wins - losses) per question, row against column, over both orders. If both orders are "
        "judged, ±2 means that one player won every match. A cross marks a pair that never met."
    )
    if len(result.players) > MATRIX:
        lead += f" The strongest {MATRIX} of {len(result.players)} players are shown."
    return lead


def _ratings_lead(result: Tournament) -> str:
    return (
        "The dot is the Bradley-Terry rating. Its line is the 95 % interval over other questions "
        f"of this kind. The hollow mark is Elo. {report.order_note(result)}"
    )


def _categories_lead(result: Tournament) -> str:
    few = min(result.categories, key=lambda one: one.questions)
    questions = f"{few.questions} question{'' if few.questions == 1 else 's'}"
    return f"The smallest category is {few.name}, with {questions}."


def _plot(name: str, label: str, *, width_rem: int | None = None) -> Plot:
    return Plot(f"{name}-plot", label, width_rem)


def _table(one: Titled) -> Table:
    columns = [
        Column(column.heading, "number" if column.right else "name") for column in one.columns
    ]
    heading = next(at for at, column in enumerate(one.columns) if not column.right)
    order = [heading, *(at for at in range(len(columns)) if at != heading)]
    lines = [
        Line([Value(values[at]) for at in order])
        for values in zip(*(column.texts for column in one.columns), strict=True)
    ]
    return Table(one.title, [columns[at] for at in order], lines)


def _swaps(result: Tournament) -> Table:
    position, swapped = result.position, result.swapped
    rows = [
        ("The answer shown first wins", position.first),
        ("A tie", position.tie),
        ("The answer shown second wins", position.second),
        ("Not parsed", position.unparsed),
        ("Same verdict in both orders", swapped.same),
        ("A win in one order, a tie in the other", swapped.weakened),
        ("Different winner when swapped", swapped.flipped),
    ]
    lines = [Line([Value(what), Value(f"{number:,}")]) for what, number in rows]
    return Table("Verdicts by position", [Column("What"), Column("Verdicts", "number")], lines)


_SCRIPTS = ("intervals", "fields", "parts")


def write_page(path: Path, result: Tournament) -> None:
    """Write the page to `path`, whole or not at all.

    Raises:
        RunError: if `path` cannot be written.
    """
    html_page.write(path, page(result, now=datetime.now(UTC)))


def page(result: Tournament, *, now: datetime) -> str:
    return html_page.page(
        Path(__file__).parent / "templates" / "tournament.html.jinja",
        title=TITLE.format(count=len(result.players)),
        header=header(result, now),
        sections=list(sections(result)),
        data=plotted(result),
        scripts=[Path(__file__).parent / "scripts" / f"{name}.js" for name in _SCRIPTS],
        program="anima-exp elo",
    )
