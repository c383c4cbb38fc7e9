"""Build a comparison of runs: everything that the terminal, the files and the page show."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from anima_exp.comparison import choose_metric as metrics
from anima_exp.comparison.answer import Answer, answer, repeat
from anima_exp.comparison.baseline import Baseline, compare_with_baseline
from anima_exp.comparison.cells import Cell, cells, differing
from anima_exp.comparison.choose_metric import Metric, choose_metric
from anima_exp.comparison.effects import Effects, main_effects
from anima_exp.comparison.leaderboard import Reached, Row, leaderboard, reached
from anima_exp.comparison.reference_results import ReferenceComparison, match_reference_rows
from anima_exp.comparison.runs import Run, Runs, State
from anima_exp.comparison.settings import as_named, condition, known, parse
from anima_exp.comparison.verdict import comparability_warning, pooled, repeated, verdict
from anima_exp.errors import ConfigError

_WORDS = {State.stopped: "stopped early"}


@dataclass(frozen=True)
class Comparison:
    runs: Runs
    metric: Metric
    keys: list[str]  # the settings that differ
    cells: list[Cell]
    rows: list[Row]
    effects: Effects
    baseline: Baseline | None
    answer: Answer | None  # to the question that the runs ask, from all of them
    verdict: str  # on the best cell
    published: list[ReferenceComparison]
    counts: dict[State, int]
    best_per: str | None = None
    top: int | None = None
    reached: list[Reached] = field(default_factory=list)  # by every cell, if some stopped early
    filtered: bool = False  # whether some of the runs were left out before
    unscored: list[Run] = field(default_factory=list)  # done, but without this score
    caution: str | None = None  # why these scores should not be compared
    repeated: str | None = None  # that seeds have several runs

    def described(self, score: str) -> Metric:
        """What the runs say of any of their scores."""
        return metrics.metric(score, self.runs.metrics)

    def counted(self, *, but: Collection[State] = ()) -> str:
        """`12 done, 1 failed`."""
        text = ((state, n) for state, n in self.counts.items() if n and state not in but)
        return ", ".join(f"{n} {_WORDS.get(state, state.value)}" for state, n in text)

    @property
    def conclusion(self) -> list[str]:
        """The sweep's question answered, if the runs answer it; then what is known of the best."""
        if self.answer is None:
            return [self.verdict]
        if self.keys != [self.answer.key]:
            return [self.answer.sentence, self.verdict]
        # The cells are the values that the answer has compared: the verdict would do it again.
        best = min(self.rows, key=lambda row: row.rank)
        score = f"{self.metric.name} {self.metric.number(best.score.mean)}"
        seeds = f"{best.score.n} seed{'' if best.score.n == 1 else 's'}"
        return [self.answer.sentence, f"The best cell is {best.cell.label}: {score}, {seeds}."]

    @property
    def wanted(self) -> list[Row]:
        """All rows, or with best_per the best ones."""
        return [row for row in self.rows if row.best] if self.best_per else self.rows

    @property
    def shown(self) -> list[Row]:
        """The rows of the table: with top=the first ones."""
        return self.wanted[: self.top]

    @property
    def left_out(self) -> str | None:
        """One sentence where the table has not all rows."""
        text = []
        if others := len(self.rows) - len(self.wanted):
            text.append(f"{others} that are not the best of their {self.best_per}")
        if more := len(self.wanted) - len(self.shown):
            text.append(f"{more} more below")
        return f"Left out: {', and '.join(text)}." if text else None


def build(
    runs: Runs,
    *,
    metric: str | None = None,
    filters: Sequence[str] = (),
    sort: str | None = None,
    best_per: str | None = None,
    baseline: str | None = None,
    top: int | None = None,
) -> Comparison:
    """Compare the done runs among `runs`.

    Raises:
        ConfigError: if an option names a score, a setting or a run that is not there.
    """
    if filters:
        runs = _filtered(runs, filters)
    runs = replace(runs, runs=as_named(runs.runs))
    chosen = choose_metric(runs, metric)
    keys = differing(runs)
    found = cells(runs.done(), keys)
    chosen = chosen.in_column(score for cell in found for score in cell.values(chosen))
    rows = leaderboard(found, chosen, best_per=best_per, sort=sort, keys=keys) if found else []
    cautions = (comparability_warning(runs.done(), chosen), pooled(found, chosen))
    effects = main_effects(found, keys, chosen)
    return Comparison(
        runs=runs,
        metric=chosen,
        keys=keys,
        cells=found,
        rows=rows,
        effects=effects,
        baseline=compare_with_baseline(found, keys, chosen, baseline)
        if baseline and found
        else None,
        answer=answer(found, keys, chosen, effects, about=_about(runs)),
        verdict=verdict(rows, chosen, repeat=repeat(rows, runs.sweeps)),
        published=[
            match_reference_rows(s.published, found, chosen) for s in runs.sweeps if s.published
        ],
        counts=runs.counts(),
        best_per=best_per,
        top=top,
        reached=reached(runs, chosen),
        filtered=bool(filters),
        unscored=[run for run in runs.done() if chosen.name not in run.scores],
        caution=" ".join(filter(None, cautions)) or None,
        repeated=repeated(found, chosen),
    )


def _about(runs: Runs) -> str | None:
    """Return the setting that the question is about, if all sweeps ask about the same one."""
    settings = {sweep.about for sweep in runs.sweeps}
    return settings.pop() if len(settings) == 1 else None


def _filtered(runs: Runs, filters: Sequence[str]) -> Runs:
    settings = known(runs.runs)
    conditions = [condition(text, settings, option="filter") for text in filters]
    kept = []
    for run in runs.runs:
        values = run.settings or _of_sweep(run)
        if all(one.key in values and one.holds(values[one.key]) for one in conditions):
            kept.append(run)
    if not kept:
        text = " ".join(f"'filter={text}'" for text in filters)
        raise ConfigError(f"{text} leaves none of the {len(runs.runs)} runs.")
    return replace(runs, runs=kept)


def _of_sweep(run: Run) -> dict[str, Any]:
    """What is known of a cell that was never started."""
    pairs = (override.partition("=") for override in run.overrides)
    return {key.lstrip("+"): parse(value) for key, _, value in pairs}
