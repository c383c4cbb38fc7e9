"""Compare every run with a baseline: a run, or a value of a setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anima_exp.comparison.cells import Cell, scores_by_level
from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.settings import condition, format_value, hashable, in_order, known
from anima_exp.errors import ConfigError
from anima_exp.metrics.intervals import Interval, corrected, paired


@dataclass(frozen=True)
class Difference:
    """The mean over `pairs` of (score - the baseline's score); None without a pair."""

    label: str
    score: Interval | None
    pairs: int
    better: bool | None  # None: the interval contains 0, or there is none

    @property
    def word(self) -> str:
        """`better`, `worse`, `tie` or `no clear difference`; empty for a single pair."""
        if self.score is None:
            return ""
        if self.score.mean == 0:
            return "tie"
        if self.pairs < 2:
            return ""
        return {True: "better", False: "worse", None: "no clear difference"}[self.better]


@dataclass(frozen=True)
class Baseline:
    label: str
    pairing: str  # what a pair has in common
    differences: list[Difference]

    @property
    def description(self) -> str:
        """How the differences were computed, in one or two sentences."""
        if not self.differences:
            return f"There is nothing to compare with {self.label}."
        several = sum(one.pairs > 1 for one in self.differences)
        text = f"The two runs of a pair have {self.pairing} in common."
        if several > 1:
            text += (
                f" Intervals are corrected for {several} comparisons (Bonferroni), "
                "so all of them hold together in 95 % of cases."
            )
        return text


def compare_with_baseline(
    cells: Sequence[Cell], keys: Sequence[str], metric: Metric, requested: str
) -> Baseline:
    """`requested` is a run's name, a cell's label, or a setting like lora.rank=8.

    Raises:
        ConfigError: if it is none of these.
    """
    for cell in cells:
        if requested == cell.label or requested in (run.name for run in cell.runs):
            return _against_cell(cell, cells, metric)
    if "=" not in requested:
        raise ConfigError(
            f"baseline={requested}: there is no such run. Give a run's name, a row of the table "
            "or a setting like lora.rank=8."
        )
    runs = [run for cell in cells for run in cell.runs]
    wanted = condition(requested, known(runs), option="baseline")
    if wanted.sign != "=":
        raise ConfigError(f"baseline={requested}: a baseline is one value. Write SETTING=VALUE.")
    levels = in_order(run.settings.get(wanted.key) for run in runs)
    base = next((level for level in levels if wanted.holds(level)), None)
    if not any(map(wanted.holds, levels)):
        chosen = [cell for cell in cells if requested in cell.runs[0].overrides]
        if len(chosen) == 1:  # the file of a group, which has other values than its name
            return _against_cell(chosen[0], cells, metric)
        values = ", ".join(map(format_value, levels))
        raise ConfigError(f"baseline={requested}: the runs have {wanted.key} = {values}.")
    if len(levels) == 1:
        raise ConfigError(
            f"baseline={requested}: all runs have it, so there is nothing to compare it with. "
            f"They differ in {', '.join(keys) or 'their seeds only'}."
        )
    return _against_setting(*_column(wanted.key, base, cells, keys), cells, keys, metric)


def _column(key: str, value: object, cells: Sequence[Cell], keys: Sequence[str]) -> tuple[str, Any]:
    """Return a setting and its value, or the setting with a column that always changes with it.

    Raises:
        ConfigError: if it changes with several settings together.
    """
    if key in keys:
        return key, value
    values = [hashable(cell.runs[0].settings.get(key)) for cell in cells]
    for other in keys:
        pairs = set(
            zip(values, (hashable(cell.settings.get(other)) for cell in cells), strict=True)
        )
        if len(pairs) == len(set(values)) == len({theirs for _, theirs in pairs}):
            at = values.index(hashable(value))
            return other, cells[at].settings.get(other)
    raise ConfigError(
        f"baseline={key}={format_value(value)}: {key} changes only with other settings. "
        f"Give one of {', '.join(keys)}, or a row of the table."
    )


def _against_cell(base: Cell, cells: Sequence[Cell], metric: Metric) -> Baseline:
    scores = base.by_seed(metric)
    others = sorted(
        (cell for cell in cells if cell is not base and cell.values(metric)),
        key=lambda cell: metric.sort_key(sum(cell.values(metric)) / len(cell.values(metric))),
    )
    compared = [(cell.label, cell.by_seed(metric)) for cell in others]
    return Baseline(base.label, "the seed", _differences(compared, scores, metric))


def _against_setting(
    key: str, base: object, cells: Sequence[Cell], keys: Sequence[str], metric: Metric
) -> Baseline:
    scores = scores_by_level(cells, key, keys, metric)
    compared = [
        (f"{key}={format_value(level)}", scores[hashable(level)])
        for level in in_order(cell.settings.get(key) for cell in cells)
        if hashable(level) != hashable(base)
    ]
    found = _differences(compared, scores[hashable(base)], metric)
    pairing = "all other settings and the seed" if len(keys) > 1 else "the seed"
    return Baseline(f"{key}={format_value(base)}", pairing, found)


def _differences(
    compared: Sequence[tuple[str, dict[Any, float]]], base: dict[Any, float], metric: Metric
) -> list[Difference]:
    """Return the differences of all from the base, corrected for their number.

    Each of them could look better by chance, like each competitor of a winner (verdict.py).
    """
    shared = [[pair for pair in scores if pair in base] for _, scores in compared]
    level = corrected(sum(len(pairs) > 1 for pairs in shared))
    found = []
    for (label, scores), pairs in zip(compared, shared, strict=True):
        if not pairs:
            found.append(Difference(label, None, 0, None))
            continue
        ours, theirs = [scores[pair] for pair in pairs], [base[pair] for pair in pairs]
        one = paired(ours, theirs, level=level)
        better = (one.mean < 0) is metric.minimize if one.excludes_zero else None
        found.append(Difference(label, one, len(pairs), better))
    return found
