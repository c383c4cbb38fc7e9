"""Extract the plain values of a comparison from which the plots are drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from anima_exp.comparison.build import Comparison
from anima_exp.comparison.cells import has_value, value_of
from anima_exp.comparison.runs import Run, State, curves, generations
from anima_exp.comparison.settings import format_value, hashable, headings, in_order, order
from anima_exp.display.html_page import cut, sanitize_text
from anima_exp.metrics.intervals import Interval

# Downsample long series, so that a browser can draw hundreds of runs.


Series = tuple[list[float], list[float]]  # x, y
T = TypeVar("T")


def windows(x: Sequence[float], y: Sequence[float], *, at_most: int) -> Series:
    """Means over windows of neighbours, each placed at its last x: for noisy series."""
    wide = max(1, math.ceil(len(x) / at_most))
    starts = range(0, len(x), wide)
    return (
        [x[min(start + wide, len(x)) - 1] for start in starts],
        [_mean(y[start : start + wide]) for start in starts],
    )


def picks(x: Sequence[float], y: Sequence[float], *, at_most: int) -> Series:
    """Some of the points as they are, the first and the last among them."""
    kept = evenly(range(len(x)), at_most=at_most)
    return [x[at] for at in kept], [_rounded(y[at]) for at in kept]


def evenly(values: Sequence[T], *, at_most: int) -> list[T]:
    """`values`, or `at_most` (two or more) of them, evenly from the first to the last."""
    if len(values) <= at_most:
        return list(values)
    step = (len(values) - 1) / (at_most - 1)
    return [values[round(at * step)] for at in range(at_most)]


def _mean(values: Sequence[float]) -> float:
    return _rounded(math.fsum(values) / len(values))


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")  # a plot shows no more, and the page is half as large


# generations.jsonl of many runs -> what each answered before and after, every text once.


LETTERS = 4000  # of one answer


@dataclass
class Answers:
    """Texts are numbered: runs of one base share their answers before training."""

    prompts: dict[str, int] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)

    def of(self, rows: Sequence[dict[str, Any]]) -> tuple[dict[int, int], dict[int, int]]:
        """Prompt -> text, before the first step and after the last; only after, if seen once."""
        first: dict[int, tuple[int, int]] = {}
        last: dict[int, tuple[int, int]] = {}
        for row in rows:
            step, prompt, response = (row.get(key) for key in ("step", "prompt", "response"))
            if not isinstance(step, int) or prompt is None or response is None:
                continue
            at = self.prompts.setdefault(sanitize_text(prompt), len(self.prompts))
            seen = (
                step,
                self.texts.setdefault(cut(sanitize_text(response), LETTERS), len(self.texts)),
            )
            first[at] = min(first.get(at, seen), seen, key=lambda pair: pair[0])
            last[at] = max(seen, last.get(at, seen), key=lambda pair: pair[0])
        before = {at: text for at, (step, text) in first.items() if step < last[at][0]}
        return before, {at: text for at, (_, text) in last.items()}


Plotted = dict[str, Any]  # what becomes JSON

RUNS = 1000  # drawn as lines, and cells; of more, some are taken evenly from the ranking
POINTS_OF_ALL, POINTS_OF_ONE = 60_000, 200  # of each curve


def plotted(comparison: Comparison) -> Plotted:
    """Settings by the number of their level; cells and runs from best to worst."""
    levels = {key: _levels(key, comparison.runs.runs) for key in comparison.keys}
    places = {
        key: {hashable(value): place for place, value in enumerate(values)}
        for key, values in levels.items()
    }

    def at(settings: dict[str, Any]) -> list[int | None]:
        return [places[key].get(hashable(settings.get(key))) for key in comparison.keys]

    names = headings(comparison.keys)
    rows = sorted(comparison.rows, key=lambda row: row.rank)
    labels = {run.folder: cell.label for cell in comparison.cells for run in cell.runs}
    chosen = drawn_runs(comparison)
    answers = Answers()
    return {
        "metric": {
            "name": sanitize_text(comparison.metric.name),
            "minimize": comparison.metric.minimize,
            "decimals": comparison.metric.column,
            "unit": comparison.metric.form.unit,
            "factor": comparison.metric.form.factor,
            "grouped": comparison.metric.form.grouped,
        },
        "settings": [
            {
                "key": sanitize_text(key),
                "short": sanitize_text(names[key]),
                "levels": [sanitize_text(format_value(value)) for value in values],
                "ordered": _ordered(values),
                "numbers": values if _ordered(values) else None,
            }
            for key, values in levels.items()
        ],
        "cells": [
            {
                "label": sanitize_text(row.cell.label),
                "at": at(row.cell.settings),
                **_interval(row.score),
            }
            for row in rows
        ],
        "paths": evenly(range(len(rows)), at_most=RUNS),
        "runs": [
            {
                "name": sanitize_text(run.name),
                "label": sanitize_text(labels.get(run.folder) or " ".join(run.overrides)),
                "at": at({key: value_of(run, key) for key in comparison.keys}),
                **_line(run, comparison, answers, len(chosen)),
            }
            for run in chosen
        ],
        "effects": [
            {
                "key": sanitize_text(effect.key),
                "ordered": _ordered([level.value for level in effect.levels]),
                "levels": [
                    {"text": sanitize_text(format_value(level.value)), **_interval(level.score)}
                    for level in effect.levels
                ],
            }
            for effect in comparison.effects.effects
        ],
        "prompts": list(answers.prompts),
        "texts": list(answers.texts),
    }


def drawn_runs(comparison: Comparison) -> list[Run]:
    """The runs that began, best first, those without a score last."""
    name = comparison.metric.name
    begun = [run for run in comparison.runs.runs if run.settings]
    begun.sort(
        key=lambda run: (
            name not in run.scores,
            comparison.metric.sort_key(run.scores.get(name, 0.0)),
        )
    )
    return evenly(begun, at_most=RUNS)


def points(runs: int) -> int:
    """How many points a line may have where `runs` are drawn."""
    return max(20, min(POINTS_OF_ONE, POINTS_OF_ALL // max(runs, 1)))


def stop_reason(run: Run, comparison: Comparison) -> str | None:
    if run.state is not State.stopped:
        return None
    for sweep in comparison.runs.sweeps:
        if run.name in sweep.stopped:
            return str(sweep.stopped[run.name].get("reason") or "")
    return ""


def _line(run: Run, comparison: Comparison, answers: Answers, runs: int) -> dict[str, Any]:
    name, rows, at_most = comparison.metric.name, curves(run), points(runs)
    before, after = answers.of(generations(run))
    return {
        "score": run.scores.get(name),
        "stopped": None
        if (reason := stop_reason(run, comparison)) is None
        else sanitize_text(reason),
        "training": windows(*_series(rows, "loss"), at_most=at_most),
        "evaluations": picks(*_series(rows, name), at_most=at_most),
        "before": before,
        "after": after,
    }


def _series(rows: Sequence[dict[str, Any]], key: str) -> Series:
    seen = [
        (row["step"], row[key])
        for row in rows
        if isinstance(row.get("step"), int)
        and isinstance(row.get(key), int | float)
        and math.isfinite(row[key])
    ]
    return [step for step, _ in seen], [value for _, value in seen]


def _levels(key: str, runs: Sequence[Run]) -> list[Any]:
    """Return the values of the runs that have begun; an older run has a newer setting's former."""
    begun = [run for run in runs if run.settings]
    return in_order(value_of(run, key) for run in begun if has_value(run, key))


def _ordered(values: Sequence[Any]) -> bool:
    """Return whether they are numbers: shades tell more than colours then."""
    return all(order(value)[0] == 1 for value in values)


def _interval(score: Interval) -> dict[str, Any]:
    return {"mean": score.mean, "low": score.low, "high": score.high, "n": score.n}
