"""Make the other tables of the page: baseline, levels, published values, failures."""

from anima_exp.comparison.baseline import Baseline
from anima_exp.comparison.build import Comparison
from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.choose_metric import metric as named
from anima_exp.comparison.columns import difference, score
from anima_exp.comparison.effects import Effects
from anima_exp.comparison.page.data import stop_reason
from anima_exp.comparison.reference_results import ReferenceComparison
from anima_exp.comparison.runs import Run, State
from anima_exp.comparison.settings import format_value, headings
from anima_exp.display.html_page import Column, Line, Table, Value, cut

REASON = 2000  # characters; a traceback can be long
FAILURES = 500  # rows; a grid in which every cell failed repeats the same reason


def baseline(result: Baseline, metric: Metric) -> Table:
    columns = [Column("Compared", "value"), Column("Difference", "number")]
    columns += [Column("Pairs", "number"), Column("")]
    lines = [
        Line(
            [
                Value(one.label),
                Value(difference(metric, one.score) if one.score else "no pair"),
                Value(one.pairs),
                Value(one.word),
            ]
        )
        for one in result.differences
    ]
    return Table(f"Differences from {result.label}", columns, lines)


def levels(effects: Effects, metric: Metric) -> Table:
    columns = [Column("Setting"), Column("Level", "value"), Column("Runs", "number")]
    columns += [Column(f"{metric.name} ± 95 %", "number"), Column("Share of variance", "number")]
    lines = [
        Line(
            [
                Value(effect.key),
                Value(format_value(level.value)),
                Value(level.score.n),
                Value(score(metric, level.score)),
                Value(f"{100 * effect.share:.1f} %" if place == 0 else ""),
            ]
        )
        for effect in effects.effects
        if effect.key != "seed"
        for place, level in enumerate(effect.levels)
    ]
    return Table(f"Mean {metric.name} at each level", columns, lines)


def published(reference: ReferenceComparison, metric: Metric) -> Table:
    """Return the paper's and our values. The metrics may differ, so each column names its own."""
    settings = list(dict.fromkeys(key for row, _, _ in reference.rows for key in row))
    names = headings(settings)
    digits = max(len(f"{value:g}".partition(".")[2]) for _, value, _ in reference.rows)
    columns = [Column(names[key], "value") for key in settings]
    columns += [Column(f"Paper: {reference.table.metric}", "number")]
    columns += [Column(f"Ours: {metric.name}", "number"), Column("Our runs", "number")]
    lines = [
        Line(
            [
                *(Value(format_value(row[key]) if key in row else "–") for key in settings),
                Value(f"{value:.{digits}f}"),
                Value(score(metric, ours) if ours else "–"),
                Value(ours.n if ours else 0),
            ]
        )
        for row, value, ours in reference.rows
    ]
    return Table(f"{reference.table.source}, next to our runs", columns, lines)


def incomplete_runs(comparison: Comparison) -> list[Run]:
    wanted = (State.failed, State.stopped, State.unfinished)
    runs = [run for run in comparison.runs.runs if run.state in wanted]
    return sorted(runs, key=lambda run: wanted.index(run.state))


def failures(comparison: Comparison) -> Table:
    columns = [Column("Run", "name"), Column("State", "name"), Column("Settings", "value")]
    columns += [Column("Why", "long")]
    lines = [
        Line([Value(run.name), _state(run), Value(_settings(run, comparison)),
              Value(_why(run, comparison))])
        for run in incomplete_runs(comparison)[:FAILURES]
    ]  # fmt: skip
    return Table("Runs that did not end as planned", columns, lines)


def _state(run: Run) -> Value:
    if run.state is State.failed:
        return Value("failed", warning=True)
    return Value("stopped early" if run.state is State.stopped else str(run.state))


def _settings(run: Run, comparison: Comparison) -> str:
    if run.overrides:
        return " ".join(run.overrides)
    names = headings(comparison.keys)
    return " ".join(
        f"{names[key]}={format_value(run.settings[key])}"
        for key in comparison.keys
        if key in run.settings
    )


def _why(run: Run, comparison: Comparison) -> str:
    if run.failure:
        return cut(run.failure, REASON)
    if run.state is not State.stopped:
        return "" if run.settings else "not started"
    found = [s.stopped[run.name] for s in comparison.runs.sweeps if run.name in s.stopped]
    reason = stop_reason(run, comparison) or ""
    step, value = (found[0].get(key) if found else None for key in ("step", "value"))
    at = [] if step is None else [f"step {step}"]
    if isinstance(value, int | float):
        name = found[0].get("metric") or comparison.metric.name
        at.append(f"{name} {named(name).number(value)}")
    return ": ".join(part for part in (", ".join(at), reason) if part)
