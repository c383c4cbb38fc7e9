"""How far each cell of a sweep with early stopping came, and its score there.

The leaderboard ranks what was trained to the end. A cell that was stopped at a rung has a score
too, which is comparable with the others' at that step only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anima_exp.compare.metric import Metric
from anima_exp.compare.runs import Run, Runs, State, Sweep, curves
from anima_exp.compare.statistics import Interval, mean_interval

_WORDS = {State.stopped: "stopped early"}


@dataclass(frozen=True)
class Reached:
    """The seeds of one setting that ended, or are, at one step."""

    settings: dict[str, str]  # as the sweep's command gives them, the seed left out
    state: str
    step: int | None  # None: nothing was trained yet
    score: Interval | None
    runs: tuple[str, ...]


def reached(runs: Runs, metric: Metric) -> list[Reached]:
    """Return every cell of the sweeps that stopped some early: the furthest first, then the best.

    It is empty where no sweep did.
    """
    found: list[Reached] = []
    for sweep in runs.sweeps:
        if sweep.stopped or sweep.reached:
            names = set(sweep.runs)
            found += _of(sweep, [run for run in runs.runs if run.name in names], metric)
    worst = float("inf")
    return sorted(
        found,
        key=lambda one: (
            -1 if one.step is None else -one.step,
            metric.worse_by(one.score.mean) if one.score else worst,
        ),
    )


def _of(sweep: Sweep, runs: Sequence[Run], metric: Metric) -> list[Reached]:
    settings = _told_apart(runs)
    groups: dict[Any, dict[Any, list[tuple[Run, float | None]]]] = {}
    for run in runs:
        step, score = _end(run, sweep, metric)
        key = (tuple(settings[run.name].items()), run.state, step)
        groups.setdefault(key, {}).setdefault(run.seed, []).append((run, score))
    found = []
    for (own, state, step), seeds in groups.items():
        # As everywhere, a seed counts once.
        by_seed = [[score for _, score in pairs if score is not None] for pairs in seeds.values()]
        means = [sum(scores) / len(scores) for scores in by_seed if scores]
        found.append(
            Reached(
                settings=dict(own),
                state=_WORDS.get(state, state.value),
                step=step,
                score=mean_interval(means) if means else None,
                runs=tuple(run.name for pairs in seeds.values() for run, _ in pairs),
            )
        )
    return found


def _told_apart(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """Return the overrides of each run, without those that all have, and without the seed."""
    given = {run.name: _pairs(run.overrides) for run in runs}
    keys = dict.fromkeys(key for own in given.values() for key in own if key != "seed")
    varying = [key for key in keys if len({own.get(key) for own in given.values()}) > 1]
    return {name: {key: own.get(key, "") for key in varying} for name, own in given.items()}


def _pairs(overrides: Sequence[str]) -> dict[str, str]:
    parts = (override.lstrip("+").partition("=") for override in overrides)
    return {key: value for key, _, value in parts}


def _end(run: Run, sweep: Sweep, metric: Metric) -> tuple[int | None, float | None]:
    """Return the last step of a run, or its last rung, and the score there."""
    if run.record is not None:
        return run.record.steps, run.scores.get(metric.name)
    rungs = sweep.reached.get(run.name) or []
    last: Mapping[str, Any] = rungs[-1] if rungs else sweep.stopped.get(run.name, {})
    step, value = last.get("step"), last.get("value")
    if isinstance(step, int) and isinstance(value, int | float) and sweep.metric == metric.name:
        return step, float(value)
    rows = [row for row in curves(run) if isinstance(row.get("step"), int)]
    if isinstance(step, int):
        rows = [row for row in rows if row["step"] <= step]
    scores = [row[metric.name] for row in rows if isinstance(row.get(metric.name), int | float)]
    furthest = step if isinstance(step, int) else max((row["step"] for row in rows), default=None)
    return furthest, float(scores[-1]) if scores else None
