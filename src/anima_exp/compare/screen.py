"""A comparison -> the terminal, at whatever width it has."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from anima_exp.compare.baseline import Baseline
from anima_exp.compare.columns import Column, columns, difference, score
from anima_exp.compare.comparison import Comparison
from anima_exp.compare.effects import Effects
from anima_exp.compare.metric import Metric
from anima_exp.compare.published import Beside
from anima_exp.compare.runs import Run, State
from anima_exp.compare.settings import headings, short, written
from anima_exp.terminal import visible

_AT_MOST_REASONS = 5
_GAP = 2  # columns between two columns of a table


def show(comparison: Comparison, console: Console, *, top: int) -> None:
    for question in {sweep.question for sweep in comparison.runs.sweeps if sweep.question}:
        _say(console, question, style="bold")
    _say(console, _head(comparison), style="dim")
    rows = comparison.shown[:top]
    if rows:
        console.print()
        _leaderboard(comparison, console, top=top)
    if len(comparison.rows) > 1:
        _effects(comparison.effects, comparison.metric, console)
        if comparison.baseline:
            _baseline(comparison.baseline, comparison.metric, console)
    for table in comparison.published:
        _published(table, comparison.metric, console)
    if rows:
        console.print()
        _say(console, comparison.verdict)
    _problems(comparison, console)


def _head(comparison: Comparison) -> str:
    counts, metric = comparison.counts, comparison.metric
    told = [f"{n} {_STATES[state]}" for state, n in counts.items() if n]
    if not counts[State.done]:
        return f"Nothing is done yet: {', '.join(told)}."
    smaller = "smaller" if metric.minimize else "larger"
    parts = [f"{metric.name}, {smaller} is better"]
    before = {run.scores_before.get(metric.name) for run in comparison.runs.done()} - {None}
    if len(before) == 1:
        parts.append(f"before training {metric.number(float(before.pop() or 0.0))}")
    if any(row.score.n > 1 for row in comparison.rows):
        parts.append("± is the 95 % confidence interval over the seeds")
    return "; ".join([*parts, ", ".join(told)])


_STATES = {
    State.done: "done",
    State.failed: "failed",
    State.unfinished: "unfinished",
    State.stopped: "stopped early",
}


def _leaderboard(comparison: Comparison, console: Console, *, top: int) -> None:
    rows = comparison.shown[:top]
    shown, left_out = _fitting(columns(comparison, rows), console.width)
    bold = {place for place, row in enumerate(rows) if row.best}
    console.print(_table(shown, bold=bold))
    notes = []
    if more := len(comparison.shown) - len(rows):
        notes.append(f"{more} more rows: --top {len(comparison.shown)}")
    if others := len(comparison.rows) - len(comparison.shown):
        notes.append(f"{others} rows are not the best of their {comparison.best_per}")
    if left_out:
        notes.append(f"no room for {', '.join(left_out)}")
    if notes:
        _say(console, "; ".join(notes), style="dim")


def _fitting(found: Sequence[Column], width: int) -> tuple[list[Column], list[str]]:
    """The columns that fit, and the headings of those that were left out for it."""
    kept = list(found)
    while sum(map(_width, kept)) + _GAP * (len(kept) - 1) > width:
        least = max(kept, key=lambda column: column.dropped)
        if not least.dropped:
            break
        kept.remove(least)
    return kept, [column.heading for column in found if column not in kept]


def _width(column: Column) -> int:
    return max(cell_len(text) for text in [column.heading, *column.texts])


def _table(found: Sequence[Column], *, bold: Iterable[int] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim")
    for column in found:
        table.add_column(
            _safe(column.heading),
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=column.heading == "#",
        )
    marked = set(bold)
    for place in range(len(found[0].texts)):
        texts = (_safe(column.texts[place]) for column in found)
        table.add_row(*texts, style="bold" if place in marked else None)
    return table


def _effects(effects: Effects, metric: Metric, console: Console) -> None:
    # One setting, one run each: its share is all there is, and says nothing.
    if len(effects.effects) + len(effects.skipped) < 2:
        return
    names = headings([effect.key for effect in effects.effects])
    found = [
        Column("what matters", [], right=False),
        Column("share", []),
        Column("spread", []),
        Column("mean at each value", [], right=False),
    ]
    for effect in effects.effects:
        means = [f"{written(one.value)}: {score(metric, one.score)}" for one in effect.levels]
        name = " + ".join([names[effect.key], *map(short, effect.together)])
        spread = metric.difference(effect.spread).lstrip("+")
        used = max(len(name), 24) + len(spread) + 16
        texts = (name, f"{100 * effect.share:.0f} %", spread, _folded(means, console.width - used))
        for column, text in zip(found, texts, strict=True):
            column.texts.append(text)
    for column, text in zip(
        found, ("interactions and chance", f"{100 * effects.residual:.0f} %", "", ""), strict=True
    ):
        column.texts.append(text)
    console.print()
    console.print(_table(found))
    if not effects.balanced:
        _say(
            console,
            "The grid has holes, so settings overlap: a share is what no other setting explains.",
            style="dim",
        )
    if effects.skipped:
        left = ", ".join(effects.skipped)
        _say(console, f"Nearly every run has its own {left}: see the plots of --html", style="dim")


def _folded(items: Sequence[str], width: int) -> str:
    """Items side by side, and a new line where the next would not fit."""
    lines = [""]
    for item in items:
        longer = f"{lines[-1]}   {item}" if lines[-1] else item
        if lines[-1] and cell_len(longer) > width:
            lines.append(item)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def _baseline(baseline: Baseline, metric: Metric, console: Console) -> None:
    words = {True: "better", False: "worse", None: "cannot be told"}
    found = baseline.differences
    console.print()
    console.print(
        _table(
            [
                Column(f"against {baseline.label}", [one.label for one in found], right=False),
                Column(
                    f"difference in {metric.name}",
                    [difference(metric, one.score) if one.score else "-" for one in found],
                ),
                Column("pairs", [str(one.pairs) for one in found]),
                Column("", [words[one.better] if one.pairs > 1 else "" for one in found], False),
            ]
        )
    )
    _say(console, f"Pairs have {baseline.pairing} in common.", style="dim")


def _published(table: Beside, metric: Metric, console: Console) -> None:
    keys = list(dict.fromkeys(key for row, _, _ in table.rows for key in row))
    names = headings(keys)
    found = [
        Column(names[k], [written(row.get(k)) for row, _, _ in table.rows], right=False)
        for k in keys
    ]
    found += [
        Column("published", [f"{value:g}" for _, value, _ in table.rows]),
        Column(
            f"our {metric.name}",
            [score(metric, ours) if ours else "-" for _, _, ours in table.rows],
        ),
    ]
    console.print()
    _say(console, f"{table.table.source}: {table.table.metric}", style="bold")
    console.print(_table(found))
    notes = [table.table.note] if table.table.note else []
    if not table.table.confirmed:
        notes.append("These figures have not been checked against the paper.")
    if replaced := [key for key in keys if key not in table.matched]:
        notes.append(f"Ours differ from the paper's in {', '.join(replaced)}.")
    if notes:
        _say(console, " ".join(notes), style="dim")


def _problems(comparison: Comparison, console: Console) -> None:
    stops = {name: stop for sweep in comparison.runs.sweeps for name, stop in sweep.stopped.items()}
    groups: list[tuple[str, list[tuple[Run, str]]]] = [
        ("Failed", [(r, r.failure or "?") for r in _of(comparison, State.failed)]),
        (
            "Stopped early",
            [(r, _reason(stops.get(r.name, {}))) for r in _of(comparison, State.stopped)],
        ),
        (
            f"Done, but without {comparison.metric.name}",
            [(run, ", ".join(run.scores) or "no score") for run in comparison.unscored],
        ),
    ]
    for heading, found in groups:
        if found:
            console.print()
            _say(console, f"{heading}: {len(found)}", style="bold")
        for run, reason in found[:_AT_MOST_REASONS]:
            line = reason.splitlines()[0] if reason else ""
            _say(console, f"  {run.name}: {line}")
        if len(found) > _AT_MOST_REASONS:
            _say(console, f"  and {len(found) - _AT_MOST_REASONS} more", style="dim")


def _of(comparison: Comparison, state: State) -> list[Run]:
    return [run for run in comparison.runs.runs if run.state is state]


def _reason(stop: dict[str, object]) -> str:
    return f"at step {stop.get('step', '?')}: {stop.get('reason', '')}"


def _say(console: Console, text: str, *, style: str | None = None) -> None:
    # In a file or a pipe, a sentence stays one line.
    console.print(_safe(text), style=style, soft_wrap=not console.is_terminal)


def _safe(text: str) -> str:
    return escape(visible(text))
