"""Print a comparison in the terminal, fitted to its width."""

from rich.console import Console

from anima_exp.comparison.baseline import Baseline
from anima_exp.comparison.build import Comparison
from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.columns import columns, differences, score, stages, stages_caption
from anima_exp.comparison.effects import Effects
from anima_exp.comparison.reference_results import ReferenceComparison
from anima_exp.comparison.runs import Run, State
from anima_exp.comparison.settings import format_value, headings, short
from anima_exp.display.tables import Column, fits, fitting, folded, say, table

_AT_MOST_REASONS = 5
_LONGEST_REASON = 200


def show(comparison: Comparison, console: Console, *, top: int) -> None:
    for question in {sweep.question for sweep in comparison.runs.sweeps if sweep.question}:
        say(console, question, style="bold")
    counted = comparison.counted()
    if not comparison.counts[State.done]:
        say(console, f"Nothing is done yet: {counted}.")
        _stages(comparison, console, top=top)
    else:
        say(console, f"{counted}; {_metric_line(comparison)}", style="dim")
        _tables(comparison, console, top=top)
    _problems(comparison, console)


def _tables(comparison: Comparison, console: Console, *, top: int) -> None:
    console.print()
    _leaderboard(comparison, console, top=top)
    if len(comparison.rows) > 1:
        _effects(comparison.effects, comparison.metric, console)
    if comparison.baseline:
        _baseline(comparison.baseline, comparison.metric, console)
    _stages(comparison, console, top=top)
    for reference in comparison.published:
        _published(reference, comparison.metric, console)
    console.print()
    for sentence in comparison.conclusion:
        say(console, sentence)
    if comparison.caution:
        say(console, comparison.caution, style="yellow")


def _metric_line(comparison: Comparison) -> str:
    metric = comparison.metric
    parts = [f"{metric.name}, {'smaller' if metric.minimize else 'larger'} is better"]
    before = {run.scores_before.get(metric.name) for run in comparison.runs.done()}
    if len(before) == 1 and (value := before.pop()) is not None:
        parts.append(f"before training {metric.number(value)}")
    if any(row.score.n > 1 for row in comparison.rows):
        parts.append("± is the 95 % confidence interval over the seeds")
    return "; ".join(parts)


def _leaderboard(comparison: Comparison, console: Console, *, top: int) -> None:
    rows = comparison.wanted[:top]
    found = columns(comparison, rows)
    if not fits([column for column in found if not column.dropped], console.width):
        found = columns(comparison, rows, brief=True)
    shown, left_out = fitting(found, console.width)
    console.print(table(shown, bold=[place for place, row in enumerate(rows) if row.rank == 1]))
    notes = []
    if more := len(comparison.wanted) - len(rows):
        notes.append(f"{more} more below: top={len(comparison.wanted)} shows all")
    if others := len(comparison.rows) - len(comparison.wanted):
        notes.append(
            f"{others} left out, because they are not the best of their {comparison.best_per}"
        )
    if comparison.repeated:
        notes.append(comparison.repeated.rstrip("."))
    if left_out:
        notes.append(f"columns left out for width: {', '.join(left_out)}")
    if notes:
        say(console, "; ".join(notes), style="dim")


def _effects(effects: Effects, metric: Metric, console: Console) -> None:
    # With one setting its share is everything, which is no information.
    if len(effects.effects) + len(effects.skipped) < 2:
        return
    if effects.unstated:
        console.print()
        say(console, effects.unstated, style="dim")
        return
    if effects.saturated:
        text = "Too many settings differ among too few runs to tell what matters: use filter=."
        console.print()
        say(console, text, style="dim")
        return
    short_names = headings([effect.key for effect in effects.effects])
    names = [" + ".join([short_names[e.key], *map(short, e.together)]) for e in effects.effects]
    room = console.width - max(map(len, [*names, _CHANCE])) - 20  # share and spread take 20
    lines = []
    for name, effect in zip(names, effects.effects, strict=True):
        # The means of single seeds are no information.
        levels = effect.levels if effect.key != "seed" else []
        means = [f"{format_value(one.value)}: {score(metric, one.score)}" for one in levels]
        spread = metric.difference(effect.spread).lstrip("+")
        lines.append((name, _share(effect.share), spread, folded(means, room)))
    rest = f"{short(effects.skipped[0])} and all else" if effects.skipped else _CHANCE
    lines.append((rest, _share(effects.residual), "", ""))
    if effects.overlap > 0.0005:
        lines.append((_OVERLAP, _share(effects.overlap), "", ""))
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
        text = "The grid is incomplete, so each share counts only what no other setting explains."
        say(console, text, style="dim")
    if effects.skipped:
        left = ", ".join(effects.skipped)
        say(console, f"Too many values to average over {left}: see html=FILE.", style="dim")


_CHANCE = "interactions and chance"
_OVERLAP = "shared by several settings"


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _baseline(baseline: Baseline, metric: Metric, console: Console) -> None:
    console.print()
    if baseline.differences:
        console.print(table(differences(baseline, metric)))
    say(console, baseline.description, style="dim")


def _stages(comparison: Comparison, console: Console, *, top: int) -> None:
    if not comparison.reached:
        return
    console.print()
    say(console, stages_caption(comparison.metric), style="bold")
    console.print(table(stages(comparison.reached[:top], comparison.metric)))
    if (more := len(comparison.reached) - top) > 0:
        say(console, f"{more} more below: top={len(comparison.reached)} shows all", style="dim")


def _published(reference: ReferenceComparison, metric: Metric, console: Console) -> None:
    keys = list(dict.fromkeys(key for row, _, _ in reference.rows for key in row))
    names, paper = headings(keys), reference.table
    ours = [score(metric, found) if found else "-" for _, _, found in reference.rows]
    found = [
        Column(
            names[key], [format_value(row.get(key)) for row, _, _ in reference.rows], right=False
        )
        for key in keys
    ]
    digits = max(len(f"{value:g}".partition(".")[2]) for _, value, _ in reference.rows)
    found.append(Column("published", [f"{value:.{digits}f}" for _, value, _ in reference.rows]))
    found.append(Column(f"our {metric.name}", ours))
    notes = [paper.note] if paper.note else []
    if not paper.confirmed:
        notes.append("These figures have not been checked against the paper.")
    if replaced := [key for key in keys if key not in reference.matched]:
        notes.append(f"Our runs differ from the paper's in {', '.join(replaced)}.")
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
            say(console, f"  {run.name}: {_first_line(reason)}")
        if len(found) > _AT_MOST_REASONS:
            say(console, f"  and {len(found) - _AT_MOST_REASONS} more", style="dim")


def _first_line(text: str) -> str:
    line = next(iter(text.splitlines()), "")
    return line if len(line) <= _LONGEST_REASON else f"{line[: _LONGEST_REASON - 1]}…"


def _of(comparison: Comparison, state: State) -> list[Run]:
    return [run for run in comparison.runs.runs if run.state is state]
