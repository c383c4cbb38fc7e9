"""Make the tables and sentences of a tournament, for the terminal and for Markdown."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console

from anima_exp.display.tables import Column, fitting, say, table
from anima_exp.tournament.bias import Share
from anima_exp.tournament.rate import Tournament

_WIDEST = 14  # players up to which a matrix is readable


@dataclass(frozen=True)
class Titled:
    title: str
    columns: list[Column]
    note: str = ""


def summary(result: Tournament) -> str:
    kinds = f"{result.verdicts:,} verdicts on {result.questions:,} questions"
    return f"{kinds}; {len(result.players)} players; {result.played:,} matches rated"


def tables(result: Tournament) -> Iterator[Titled]:
    if result.percents:
        yield percentages(result)
    yield ratings(result)
    if len(result.players) <= _WIDEST:
        yield matrix(result)
    if result.categories:
        yield by_category(result)


def percentages(result: Tournament) -> Titled:
    rows = result.percents
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
    note = f"Shown first, shown second: the position of {result.reference}'s answer."
    return Titled(f"Score in % of {result.reference}'s", columns, note)


def ratings(result: Tournament) -> Titled:
    elo = {one.player: one for one in result.elo}
    rows = result.bradley_terry.strengths
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
        Column("sd over orders", [f"{elo[one.player].deviation:.0f}" for one in rows], dropped=2),
        Column("points won", [_share(result.win_rates.get(one.player)) for one in rows], dropped=1),
    ]
    if result.one_pass:
        texts = [f"{result.one_pass[one.player]:.2f}" for one in rows]
        columns.insert(6, Column("one pass", texts, whole=True))
    return Titled("Ratings", columns, order_note(result))


def order_note(result: Tournament) -> str:
    one = result.options
    text = f"{result.per_order:,} of {result.played:,} matches each"
    if result.per_order == result.played:
        text = f"all {result.played:,} matches each"
    if one.orders == 1:
        return f"Elo: one random order (seed {one.seed}), K {one.k:g}, start {one.start:g}."
    return (
        f"Elo: mean of {one.orders:,} random orders, {text}; K {one.k:g}, start {one.start:g}, "
        f"seed {one.seed}. Its ± shrinks with more orders and does not measure how certain the "
        "ranking is. The Bradley-Terry interval, over other questions, does."
    )


def matrix(result: Tournament) -> Titled:
    columns = [Column("wins - losses", result.players, right=False)]
    for place, other in enumerate(result.players, start=1):
        texts = []
        for player in result.players:
            record = result.matrix.get(player, {}).get(other)
            texts.append(f"{record.net:+.2f}" if record else "")
        columns.append(Column(other, texts, dropped=place))
    return Titled("Win matrix", columns, "Row against column, per question, over both orders.")


def by_category(result: Tournament) -> Titled:
    percent = bool(result.percents) and result.relative == result.verdicts
    rows = [one.player for one in result.percents] if percent else result.players
    columns = [Column("player", rows, right=False)]
    for place, one in enumerate(result.categories, start=1):
        values = one.percents if percent else one.win_rates
        share = 1 if percent else 100
        texts = [f"{share * values[name]:.0f}" if name in values else "-" for name in rows]
        columns.append(Column(one.name, texts, dropped=place))
    what = f"in % of {result.reference}'s score" if percent else "points won in %"
    return Titled(f"By category, {what}", columns)


def biases(result: Tournament) -> Iterator[str]:
    """Yield one sentence per bias of the judge."""
    position, swapped = result.position, result.swapped
    if decided := position.decided:
        text = f"The answer shown first wins {_of(decided)}"
        if "first" in result.advantages:
            one = result.advantages["first"]
            text += "; between equal players this is worth "
            text += f"{_points(one.value)} ± {one.half:.0f} points"
        yield f"{text}."
    if swapped.total:
        yield (
            f"Of {swapped.total:,} pairs of answers judged in both orders, "
            f"{_share(swapped.flipped / swapped.total)} flip to the other player and "
            f"{_share(swapped.weakened / swapped.total)} change from a win to a tie."
        ) + (
            f" In {swapped.to_first:,} of the {swapped.flipped:,} flips the answer shown first won "
            "both times." * bool(swapped.flipped)
        )
    if longer := result.length.longer:
        text = f"The longer answer wins {_of(longer)}"
        if "twice_as_long" in result.advantages:
            one = result.advantages["twice_as_long"]
            text += (
                "; between equal players, twice the length is worth "
                f"{_points(one.value)} ± {one.half:.0f} points"
            )
        known = f" Lengths are known for {result.length.known:,} verdicts."
        yield f"{text}.{known if result.length.known < position.total else ''}"
    else:
        yield "Length bias: the lengths are unknown. Give the answers with answers=[FILE,...]."


def _of(share: Share) -> str:
    low, high = share.ends
    return (
        f"{_share(share.share)} of {share.total:,} verdicts with a winner "
        f"(95 %: {100 * low:.1f} to {100 * high:.1f})"
    )


def _points(value: float) -> str:
    return f"{round(value):+}"  # +0, also for -0.3


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def show(result: Tournament, console: Console) -> None:
    """Print a tournament in the terminal, fitted to its width."""
    say(console, f"{summary(result)}.", style="dim")
    for one in tables(result):
        console.print()
        shown, left_out = fitting(one.columns, console.width)
        say(console, one.title, style="bold")
        console.print(table(shown))
        if left_out:
            say(console, f"columns left out for width: {', '.join(left_out)}", style="dim")
        if one.note:
            say(console, one.note, style="dim")
    console.print()
    for sentence in biases(result):
        say(console, sentence)
    for note in result.notes:
        say(console, note, style="yellow")
    console.print()
    say(console, result.conclusion, style="bold")
