"""A tournament -> the sections of its page; one with nothing to show is left out."""

from collections.abc import Iterator

from anima_exp.elo import texts
from anima_exp.elo.page.data import MATRIX
from anima_exp.elo.texts import Titled
from anima_exp.elo.tournament import Tournament
from anima_exp.page.section import Section
from anima_exp.page.table import Column, Line, Value, table
from anima_exp.page.words import escaped


def sections(found: Tournament) -> Iterator[Section]:
    if found.percents:
        of = escaped(found.reference)
        lead = (
            f"Mean over both orders, with its 95 % interval; {of} is 100. In the table, shown "
            f"first and second are {of}'s places before the judge."
        )
        body = _plot("percents", f"Scores in per cent of {found.reference}'s")
        body += _table(texts.percentages(found))
        yield Section("percents", "Percentages", f"In per cent of {found.reference}", lead, body)
    body = _plot("ratings", "Ratings with their intervals") + _table(texts.ratings(found))
    yield Section("ratings", "Ratings", "Ratings", _ratings_lead(found), body)
    lead = (
        "(Wins - losses) by question, row against column, both orders together: ±2 is a clean "
        "sweep where both are judged. A cross marks a pair that never met."
    )
    if len(found.players) > MATRIX:
        lead += f" The strongest {MATRIX} of {len(found.players)} players."
    body = _plot("matrix", "Win matrix", wide=4 * min(len(found.players), MATRIX) + 8)
    yield Section(
        "matrix", "Win matrix", "Who beats whom", lead, body + _table(texts.matrix(found))
    )
    if found.categories:
        one = texts.by_category(found)
        wide = 4 * len(found.categories) + 10
        body = _plot("categories", one.title, wide=wide) + _table(one)
        lead = f"{escaped(one.title)}. {escaped(_categories_lead(found))}"
        yield Section("categories", "Categories", "By category of question", lead, body)
    said = "".join(f"<p>{escaped(sentence)}</p>" for sentence in texts.biases(found))
    yield Section("bias", "The judge", "What the judge goes by", "", said + _swaps(found))


def _ratings_lead(found: Tournament) -> str:
    return (
        "The dot is Bradley-Terry's rating, its line the 95 % interval over other questions of "
        f"this kind; the hollow mark is Elo. {escaped(texts.order_note(found))}"
    )


def _categories_lead(found: Tournament) -> str:
    few = min(found.categories, key=lambda one: one.questions)
    questions = f"{few.questions} question{'' if few.questions == 1 else 's'}"
    return f"The fewest: {few.name}, {questions}."


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
        ("Judged in both orders, and the same", swapped.same),
        ("A win in one order, a tie in the other", swapped.weakened),
        ("Another winner when swapped", swapped.flipped),
    ]
    lines = [Line([Value(what), Value(f"{number:,}")]) for what, number in rows]
    return table("Verdicts by position", [Column("What"), Column("Verdicts", "number")], lines)
