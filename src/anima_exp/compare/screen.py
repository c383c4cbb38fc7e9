"""A comparison -> the terminal, at whatever width it has."""

from rich.console import Console

from anima_exp.compare.baseline import Baseline
from anima_exp.compare.columns import Column, columns, difference, score
from anima_exp.compare.comparison import Comparison
from anima_exp.compare.effects import Effects
from anima_exp.compare.metric import Metric
from anima_exp.compare.published import Beside
from anima_exp.compare.runs import Run, State
from anima_exp.compare.settings import headings, short, written
from anima_exp.compare.table import fitting, folded, say, table

_AT_MOST_REASONS = 5
_STATES = {
    State.done: "done",
    State.failed: "failed",
    State.unfinished: "unfinished",
    State.stopped: "stopped early",
}


def show(comparison: Comparison, console: Console, *, top: int) -> None:
    for question in {sweep.question for sweep in comparison.runs.sweeps if sweep.question}:
        say(console, question, style="bold")
    counted = ", ".join(f"{n} {_STATES[state]}" for state, n in comparison.counts.items() if n)
    if not comparison.counts[State.done]:
        say(console, f"Nothing is done yet: {counted}.")
    else:
        say(console, f"{counted}; {_yardstick(comparison)}", style="dim")
        _tables(comparison, console, top=top)
    _problems(comparison, console)


def _tables(comparison: Comparison, console: Console, *, top: int) -> None:
    console.print()
    _leaderboard(comparison, console, top=top)
    if len(comparison.rows) > 1:
        _effects(comparison.effects, comparison.metric, console)
        if comparison.baseline:
            _baseline(comparison.baseline, comparison.metric, console)
    for beside in comparison.published:
        _published(beside, comparison.metric, console)
    console.print()
    say(console, comparison.verdict)
    if comparison.caution:
        say(console, comparison.caution, style="yellow")


def _yardstick(comparison: Comparison) -> str:
    metric = comparison.metric
    parts = [f"{metric.name}, {'smaller' if metric.minimize else 'larger'} is better"]
    before = {run.scores_before.get(metric.name) for run in comparison.runs.done()}
    if len(before) == 1 and (value := before.pop()) is not None:
        parts.append(f"before training {metric.number(value)}")
    if any(row.score.n > 1 for row in comparison.rows):
        parts.append("± is the 95 % confidence interval over the seeds")
    return "; ".join(parts)


def _leaderboard(comparison: Comparison, console: Console, *, top: int) -> None:
    rows = comparison.shown[:top]
    shown, left_out = fitting(columns(comparison, rows), console.width)
    console.print(table(shown, bold=[place for place, row in enumerate(rows) if row.rank == 1]))
    notes = []
    if more := len(comparison.shown) - len(rows):
        notes.append(f"{more} more below: --top {len(comparison.shown)} shows all")
    if others := len(comparison.rows) - len(comparison.shown):
        notes.append(f"{others} left out, not the best of their {comparison.best_per}")
    if left_out:
        notes.append(f"no room for {', '.join(left_out)}")
    if notes:
        say(console, "; ".join(notes), style="dim")


def _effects(effects: Effects, metric: Metric, console: Console) -> None:
    # One setting, one run each: its share is all there is, and says nothing.
    if len(effects.effects) + len(effects.skipped) < 2:
        return
    names = headings([effect.key for effect in effects.effects])
    lines = []
    for effect in effects.effects:
        means = [f"{written(one.value)}: {score(metric, one.score)}" for one in effect.levels]
        name = " + ".join([names[effect.key], *map(short, effect.together)])
        spread = metric.difference(effect.spread).lstrip("+")
        room = console.width - max(len(name), len(_CHANCE)) - len(spread) - 16
        lines.append((name, _share(effect.share), spread, folded(means, room)))
    lines.append((_CHANCE, _share(effects.residual), "", ""))
    headed = ("what matters", "share", "spread", "mean at each value")
    texts = map(list, zip(*lines, strict=True))
    console.print()
    console.print(
        table(
            [
                Column(heading, column, right=heading in ("share", "spread"))
                for heading, column in zip(headed, texts, strict=True)
            ]
        )
    )
    if not effects.balanced:
        told = "The grid has holes, so settings overlap: a share is what no other one explains."
        say(console, told, style="dim")
    if effects.skipped:
        left = ", ".join(effects.skipped)
        say(console, f"Nearly every run has its own {left}: see the plots of --html.", style="dim")


_CHANCE = "interactions and chance"


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _baseline(baseline: Baseline, metric: Metric, console: Console) -> None:
    words = {True: "better", False: "worse", None: "no clear difference"}
    found = baseline.differences
    told = [difference(metric, one.score) if one.score else "-" for one in found]
    made = table(
        [
            Column(f"against {baseline.label}", [one.label for one in found], right=False),
            Column(f"difference in {metric.name}", told),
            Column("pairs", [str(one.pairs) for one in found]),
            Column("", [words[one.better] if one.pairs > 1 else "" for one in found], right=False),
        ]
    )
    console.print()
    console.print(made)
    say(console, f"The two runs of a pair have {baseline.pairing} in common.", style="dim")


def _published(beside: Beside, metric: Metric, console: Console) -> None:
    keys = list(dict.fromkeys(key for row, _, _ in beside.rows for key in row))
    names, paper = headings(keys), beside.table
    ours = [score(metric, found) if found else "-" for _, _, found in beside.rows]
    found = [
        Column(names[key], [written(row.get(key)) for row, _, _ in beside.rows], right=False)
        for key in keys
    ]
    found.append(Column("published", [f"{value:g}" for _, value, _ in beside.rows]))
    found.append(Column(f"our {metric.name}", ours))
    notes = [paper.note] if paper.note else []
    if not paper.confirmed:
        notes.append("These figures have not been checked against the paper.")
    if replaced := [key for key in keys if key not in beside.matched]:
        notes.append(f"Ours differ from the paper's in {', '.join(replaced)}.")
    console.print()
    say(console, f"{paper.source}: {paper.metric}", style="bold")
    console.print(table(found))
    if notes:
        say(console, " ".join(notes), style="dim")


def _problems(comparison: Comparison, console: Console) -> None:
    stops = {name: stop for sweep in comparison.runs.sweeps for name, stop in sweep.stopped.items()}
    groups = {
        "Failed": [(run, run.failure or "?") for run in _of(comparison, State.failed)],
        "Stopped early": [
            (run, f"at step {stops[run.name].get('step')}: {stops[run.name].get('reason')}")
            for run in _of(comparison, State.stopped)
        ],
        f"Done, but without {comparison.metric.name}": [
            (run, ", ".join(run.scores) or "no score") for run in comparison.unscored
        ],
    }
    for heading, found in groups.items():
        if found:
            console.print()
            say(console, f"{heading}: {len(found)}", style="bold")
        for run, reason in found[:_AT_MOST_REASONS]:
            say(console, f"  {run.name}: {reason.splitlines()[0] if reason else ''}")
        if len(found) > _AT_MOST_REASONS:
            say(console, f"  and {len(found) - _AT_MOST_REASONS} more", style="dim")


def _of(comparison: Comparison, state: State) -> list[Run]:
    return [run for run in comparison.runs.runs if run.state is state]
