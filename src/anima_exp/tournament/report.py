"""A tournament -> tables and sentences, the same for the terminal and for Markdown."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console

from anima_exp.display.tables import Column, fitting, say, table
from anima_exp.tournament.bias import Share
from anima_exp.tournament.rate import Tournament

_WIDEST = 14  # players of whom a matrix can still be read


@dataclass(frozen=True)
class Titled:
    title: str
    columns: list[Column]
    note: str = ""


def summary(found: Tournament) -> str:
    kinds = f"{found.verdicts:,} verdicts on {found.questions:,} questions"
    return f"{kinds}; {len(found.players)} players; {found.played:,} matches rated"


def tables(found: Tournament) -> Iterator[Titled]:
    if found.percents:
        yield percentages(found)
    yield ratings(found)
    if len(found.players) <= _WIDEST:
        yield matrix(found)
    if found.categories:
        yield by_category(found)


def percentages(found: Tournament) -> Titled:
    rows = found.percents
    columns = [
        Column("player", [one.player for one in rows], right=False),
        Column("shown first", [_percent(one.reference_first) for one in rows], whole=True),
        Column("shown second", [_percent(one.player_first) for one in rows], whole=True),
        Column("mean", [_percent(one.mean) for one in rows], whole=True),
        Column(
            "± 95 %", ["-" if one.half is None else f"{one.half:.1f}" for one in rows], whole=True
        ),
        Column("questions", [str(one.questions) for one in rows], dropped=1),
        Column("not parsed", [str(one.unparsed) for one in rows], dropped=2),
    ]
    note = f"Shown first, shown second: the position of {found.reference}'s answer."
    return Titled(f"Score in % of {found.reference}'s", columns, note)


def ratings(found: Tournament) -> Titled:
    elo = {one.player: one for one in found.elo}
    rows = found.bradley_terry.strengths
    columns = [
        Column("#", [str(place) for place in range(1, len(rows) + 1)], whole=True),
        Column("player", [one.player for one in rows], right=False),
        Column("Bradley-Terry", [f"{one.rating:.0f}" for one in rows], whole=True),
        Column("95 % interval", [f"{one.low:.0f} to {one.high:.0f}" for one in rows], whole=True),
        Column(
            "Elo",
            [f"{elo[one.player].mean:.1f} ± {elo[one.player].half:.1f}" for one in rows],
            whole=True,
        ),
        Column("sd of orders", [f"{elo[one.player].deviation:.0f}" for one in rows], dropped=2),
        Column("points won", [_share(found.win_rates.get(one.player)) for one in rows], dropped=1),
    ]
    if found.one_pass:
        texts = [f"{found.one_pass[one.player]:.2f}" for one in rows]
        columns.insert(6, Column("one pass", texts, whole=True))
    return Titled("Ratings", columns, order_note(found))


def order_note(found: Tournament) -> str:
    one = found.options
    told = f"{found.per_order:,} of {found.played:,} matches each"
    if found.per_order == found.played:
        told = f"all {found.played:,} matches each"
    if one.orders == 1:
        return f"Elo: one random order (seed {one.seed}), K {one.k:g}, start {one.start:g}."
    return (
        f"Elo: mean of {one.orders:,} random orders, {told}; K {one.k:g}, start {one.start:g}, "
        f"seed {one.seed}. Its ± shrinks with more orders and does not measure how certain the "
        "ranking is. The Bradley-Terry interval, over other questions, does."
    )


def matrix(found: Tournament) -> Titled:
    columns = [Column("wins - losses", found.players, right=False)]
    for place, other in enumerate(found.players, start=1):
        texts = []
        for player in found.players:
            record = found.matrix.get(player, {}).get(other)
            texts.append(f"{record.net:+.2f}" if record else "")
        columns.append(Column(other, texts, dropped=place))
    return Titled("Win matrix", columns, "Row against column, per question, over both orders.")


def by_category(found: Tournament) -> Titled:
    percent = bool(found.percents) and found.relative == found.verdicts
    rows = [one.player for one in found.percents] if percent else found.players
    columns = [Column("player", rows, right=False)]
    for place, one in enumerate(found.categories, start=1):
        values = one.percents if percent else one.win_rates
        share = 1 if percent else 100
        texts = [f"{share * values[name]:.0f}" if name in values else "-" for name in rows]
        columns.append(Column(one.name, texts, dropped=place))
    what = f"in % of {found.reference}'s score" if percent else "points won in %"
    return Titled(f"By category, {what}", columns)


def biases(found: Tournament) -> Iterator[str]:
    """What the judge goes by beside merit, a sentence each."""
    position, swapped = found.position, found.swapped
    if decided := position.decided:
        told = f"The answer shown first wins {_of(decided)}"
        if "first" in found.advantages:
            one = found.advantages["first"]
            told += (
                f"; between equal players this is worth {one.value:+.0f} ± {one.half:.0f} points"
            )
        yield f"{told}."
    if swapped.total:
        yield (
            f"Of {swapped.total:,} pairs of answers judged in both orders, "
            f"{_share(swapped.flipped / swapped.total)} flip to the other player and "
            f"{_share(swapped.weakened / swapped.total)} change from a win to a tie. In "
            f"{swapped.to_first:,} of the {swapped.flipped:,} flips the answer shown first won "
            "both times."
        )
    if longer := found.length.longer:
        told = f"The longer answer wins {_of(longer)}"
        if "twice_as_long" in found.advantages:
            one = found.advantages["twice_as_long"]
            told += (
                "; between equal players, twice the length is worth "
                f"{one.value:+.0f} ± {one.half:.0f} points"
            )
        known = f" Lengths are known for {found.length.known:,} verdicts."
        yield f"{told}.{known if found.length.known < position.total else ''}"
    else:
        yield "Length bias: the lengths are unknown. Give the answers with answers=[FILE,...]."


def _of(share: Share) -> str:
    low, high = share.ends
    return (
        f"{_share(share.share)} of {share.total:,} verdicts with a winner "
        f"(95 %: {100 * low:.1f} to {100 * high:.1f})"
    )


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


# A tournament -> the terminal, at whatever width it has.


def show(found: Tournament, console: Console) -> None:
    """Ends with whether the best can be told from the second."""
    say(console, f"{summary(found)}.", style="dim")
    for one in tables(found):
        console.print()
        shown, left_out = fitting(one.columns, console.width)
        say(console, one.title, style="bold")
        console.print(table(shown))
        if left_out:
            say(console, f"columns left out for width: {', '.join(left_out)}", style="dim")
        if one.note:
            say(console, one.note, style="dim")
    console.print()
    for sentence in biases(found):
        say(console, sentence)
    for note in found.notes:
        say(console, note, style="yellow")
    console.print()
    say(console, found.conclusion, style="bold")
