"""A tournament -> one HTML file that needs nothing but itself."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anima_exp.display import html_page
from anima_exp.display.html_page import Column, Line, Section, Value, escaped, sanitize_text, table
from anima_exp.tournament import report
from anima_exp.tournament.rate import Tournament
from anima_exp.tournament.report import Titled

# A tournament -> the plain values that the plots are drawn from.


MATRIX = 40  # players of whom a heat map can still be read; of more, the strongest


def plotted(found: Tournament) -> dict[str, Any]:
    """Each plot by name: rows with an interval, or fields in rows and columns."""
    elo = {one.player: one for one in found.elo}
    strongest = found.players[:MATRIX]
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
                for one in found.bradley_terry.strengths
            ],
            "percents": [
                {
                    "name": sanitize_text(one.player),
                    "mean": one.mean,
                    "low": one.mean - (one.half or 0.0),
                    "high": one.mean + (one.half or 0.0),
                }
                for one in found.percents
                if one.mean is not None
            ],
        },
        "reference": sanitize_text(found.reference),
        "fields": {
            "matrix": {
                "rows": [sanitize_text(name) for name in strongest],
                "columns": [sanitize_text(name) for name in strongest],
                "values": [
                    [
                        round(record.net, 2)
                        if (record := found.matrix.get(row, {}).get(column))
                        else None
                        for column in strongest
                    ]
                    for row in strongest
                ],
                "kind": "net",
            },
            **_categories(found),
        },
    }


def _net(found: Tournament, row: str, column: str) -> float | None:
    record = found.matrix.get(row, {}).get(column)
    return round(record.net, 2) if record else None


def _categories(found: Tournament) -> dict[str, Any]:
    percent = found.relative == found.verdicts and bool(found.percents)
    names = [one.player for one in found.percents] if percent else found.players
    names = names[:MATRIX]
    values = [one.percents if percent else one.win_rates for one in found.categories]
    share = 1 if percent else 100
    return {
        "categories": {
            "rows": [sanitize_text(name) for name in names],
            "columns": [sanitize_text(one.name) for one in found.categories],
            "values": [
                [round(share * one[name]) if name in one else None for one in values]
                for name in names
            ],
            "kind": "percent",
        }
    }


# The head of the page: the conclusion, what it rests on, what a reader should know.


TITLE = "A tournament of {count} models"


def header(found: Tournament, now: datetime) -> str:
    # "(99.3 % interval +269 to +427, ...)" stands smaller below.
    how = re.search(r" \(([^()]* interval [^()]*)\)\.$", found.conclusion)
    answer = found.conclusion.replace(how[0], ".") if how else found.conclusion
    parts = [
        f"<h1>{escaped(TITLE.format(count=len(found.players)))}</h1>",
        f'<p class="verdict">{escaped(answer)}</p>',
    ]
    if how:
        parts.append(f'<p class="more">By Bradley-Terry, {escaped(how[1])}.</p>')
    counts = {
        "players": len(found.players),
        "questions": found.questions,
        "verdicts": found.verdicts,
        "not parsed": found.unparsed,
    }
    items = [f"<div><dt>{name}</dt><dd>{number:,}</dd></div>" for name, number in counts.items()]
    parts.append(f'<dl class="counts">{"".join(items)}</dl>')
    parts += [f'<p class="soft dates">{escaped(note)}</p>' for note in found.notes]
    made = f"Page made {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
    parts.append(f'<p class="soft dates">{made}</p>')
    return "\n".join(parts)


# A tournament -> the sections of its page; one with nothing to show is left out.


def sections(found: Tournament) -> Iterator[Section]:
    if found.percents:
        of = escaped(found.reference)
        lead = (
            f"Mean over both orders, with its 95 % interval; {of} is 100. In the table, shown "
            f"first and shown second are the positions of {of}'s answer."
        )
        body = _plot("percents", f"Scores in per cent of {found.reference}'s")
        body += _table(report.percentages(found))
        yield Section("percents", "Percentages", f"In per cent of {found.reference}", lead, body)
    body = _plot("ratings", "Ratings with their intervals") + _table(report.ratings(found))
    yield Section("ratings", "Ratings", "Ratings", _ratings_lead(found), body)
    lead = (
        "(Wins - losses) per question, row against column, over both orders. If both orders are "
        "judged, ±2 means that one player won every match. A cross marks a pair that never met."
    )
    if len(found.players) > MATRIX:
        lead += f" The strongest {MATRIX} of {len(found.players)} players are shown."
    body = _plot("matrix", "Win matrix", wide=4 * min(len(found.players), MATRIX) + 8)
    yield Section(
        "matrix", "Win matrix", "Who beats whom", lead, body + _table(report.matrix(found))
    )
    if found.categories:
        one = report.by_category(found)
        wide = 4 * len(found.categories) + 10
        body = _plot("categories", one.title, wide=wide) + _table(one)
        lead = f"{escaped(one.title)}. {escaped(_categories_lead(found))}"
        yield Section("categories", "Categories", "By category of question", lead, body)
    said = "".join(f"<p>{escaped(sentence)}</p>" for sentence in report.biases(found))
    yield Section("bias", "The judge", "Biases of the judge", "", said + _swaps(found))


def _ratings_lead(found: Tournament) -> str:
    return (
        "The dot is the Bradley-Terry rating. Its line is the 95 % interval over other questions "
        f"of this kind. The hollow mark is Elo. {escaped(report.order_note(found))}"
    )


def _categories_lead(found: Tournament) -> str:
    few = min(found.categories, key=lambda one: one.questions)
    questions = f"{few.questions} question{'' if few.questions == 1 else 's'}"
    return f"The smallest category is {few.name}, with {questions}."


def _plot(name: str, label: str, *, wide: int | None = None) -> str:
    """A wide plot scrolls inside of its box on a phone, which then must be reachable by key."""
    told = escaped(label)
    plot = f'<div class="plot" id="{name}-plot" role="img" aria-label="{told}"'
    if wide is None:
        return f"<figure>{plot}></div></figure>\n"
    return (
        f'<figure class="sideways" tabindex="0" role="region" aria-label="{told}">'
        f'{plot} style="min-width: {wide}rem"></div></figure>\n'
    )


def _table(one: Titled) -> str:
    columns = [
        Column(column.heading, "number" if column.right else "name") for column in one.columns
    ]
    heading = next(at for at, column in enumerate(one.columns) if not column.right)
    order = [heading, *(at for at in range(len(columns)) if at != heading)]
    lines = [
        Line([Value(values[at]) for at in order])
        for values in zip(*(column.texts for column in one.columns), strict=True)
    ]
    made = table(one.title, [columns[at] for at in order], lines)
    return f"<details><summary>The numbers</summary>\n{made}</details>"


def _swaps(found: Tournament) -> str:
    position, swapped = found.position, found.swapped
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
    return table("Verdicts by position", [Column("What"), Column("Verdicts", "number")], lines)


_SCRIPTS = ("intervals", "fields", "parts")


def write_page(path: Path, found: Tournament) -> None:
    """Write the page to `path`, whole or not at all.

    Raises:
        RunError: `path` cannot be written.
    """
    html_page.write(path, page(found, now=datetime.now(UTC)))


def page(found: Tournament, *, now: datetime) -> str:
    return html_page.page(
        title=TITLE.format(count=len(found.players)),
        header=header(found, now),
        sections=list(sections(found)),
        data=plotted(found),
        scripts=[Path(__file__).parent / "scripts" / f"{name}.js" for name in _SCRIPTS],
        program="anima_exp.elo",
    )
