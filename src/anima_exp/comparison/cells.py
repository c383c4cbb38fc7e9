"""Group runs into cells, which differ only in their seed, and label each cell."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.runs import Run, Runs
from anima_exp.comparison.settings import format_value, hashable, headings
from anima_exp.config import RunConfig
from anima_exp.config.catalogue import catalogue
from anima_exp.results import identity

# A run's name starts with these labels, by which people recognize it.
_NAMES = ("model.name", "data.name")
_LONGEST_LABEL = 80


@dataclass(frozen=True)
class Cell:
    label: str
    settings: dict[str, Any]  # only those that differ between cells
    runs: list[Run]  # one or more per seed

    def scored(self, metric: Metric) -> list[Run]:
        return [run for run in self.runs if metric.name in run.scores]

    def values(self, metric: Metric) -> list[float]:
        """Return one score for each seed."""
        return list(self.by_seed(metric).values())

    def by_seed(self, metric: Metric) -> dict[Any, float]:
        """Return the score of each seed: the mean over its runs, if there are several.

        A second run of a seed, or a copy of its folder, is not evidence about other seeds.
        """
        found: dict[Any, list[float]] = {}
        for run in self.scored(metric):
            found.setdefault(hashable(run.seed), []).append(run.scores[metric.name])
        return {seed: fmean(scores) for seed, scores in found.items()}


def differing(runs: Runs) -> list[str]:
    """Return the settings that differ between the done runs: swept ones first, then config order.

    The seed is left out, and every setting that only follows another one. If every run belongs to
    a sweep, these are all settings determined by the swept ones. Otherwise these are settings with
    the same values as another, settings recommended by a model or data set, and settings of a model
    or data set whose name is listed already.
    """
    done, swept = runs.done(), runs.swept
    in_sweeps = {name for sweep in runs.sweeps for name in sweep.runs}
    all_swept = bool(swept) and all(run.name in in_sweeps for run in done)
    columns = _columns(done)
    values = {key: column for key, column in columns.items() if _varies(key, column)}
    chosen: list[str] = []
    for key in _swept_first(values, swept):
        column = values[key]
        if key in swept:
            follows = any(_same_partition(column, values[k]) for k in chosen)
        elif all_swept and chosen:
            together = list(zip(*(values[k] for k in chosen), strict=True))
            follows = _function_of(column, together)
        else:
            follows = _follows(key, values, columns, chosen)
        if not follows:
            chosen.append(key)
    return chosen


def cells(runs: Sequence[Run], keys: Sequence[str]) -> list[Cell]:
    """Group `runs` by their values of `keys`."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(tuple(hashable(value_of(run, k)) for k in keys), []).append(run)
    found = [
        Cell(group[0].name, {key: value_of(group[0], key) for key in keys}, group)
        for group in groups.values()
    ]
    if not keys:
        return found
    labels = [_label(cell.settings) for cell in found]
    if max(map(len, labels), default=0) > _LONGEST_LABEL:
        usual = {key: _most_common([cell.settings[key] for cell in found]) for key in keys}
        labels = [_label(cell.settings, usual) or "as most" for cell in found]
    return [replace(cell, label=label) for cell, label in zip(found, labels, strict=True)]


def value_of(run: Run, key: str) -> Any:
    """Return a setting of a run. A setting newer than the run has its former behaviour's value.

    A group that may be off, as `evals.mmlu`, is null or "on".
    """
    found = run.settings.get(key, _ABSENT)
    if found is not _ABSENT:
        return found
    entry = catalogue(RunConfig).get(key)
    if entry is None:
        return None
    if entry.later:
        return entry.setting.as_before
    on = entry.group is not None and any(one.startswith(f"{key}.") for one in run.settings)
    return "on" if on else None


def has_value(run: Run, key: str) -> bool:
    """Return whether a run has the setting: by its files, or because the run is older than it."""
    return key in run.settings or _is_later(key) or value_of(run, key) is not None


def scores_by_level(
    cells: Sequence[Cell], key: str, keys: Sequence[str], metric: Metric
) -> dict[Any, dict[Any, float]]:
    """Return {value of `key`: {(values of the other keys, seed): score}}, with hashable values.

    Two scores under one inner key differ in nothing but `key`: they are a pair.
    """
    rest = [other for other in keys if other != key]
    found: dict[Any, dict[Any, float]] = {}
    for cell in cells:
        same = tuple(hashable(cell.settings.get(other)) for other in rest)
        level = found.setdefault(hashable(cell.settings.get(key)), {})
        level |= {(same, seed): score for seed, score in cell.by_seed(metric).items()}
    return found


def _label(settings: dict[str, Any], usual: dict[str, Any] | None = None) -> str:
    """Return `rank=8 dropout=0.1`; with `usual` only the settings that differ from most cells."""
    names = headings(settings)
    return " ".join(
        f"{names[key]}={format_value(value)}"
        for key, value in settings.items()
        if usual is None or hashable(value) != usual[key]
    )


def _most_common(values: Sequence[Any]) -> Any:
    return Counter(map(hashable, values)).most_common(1)[0][0]


_Column = list[Any]  # one value a run
_ABSENT = "\0absent"  # a setting of an older run, or of a group that is off


def _columns(runs: Sequence[Run]) -> dict[str, _Column]:
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    return {key: [_in_column(run, key) for run in runs] for key in keys}


def _in_column(run: Run, key: str) -> Any:
    return hashable(value_of(run, key)) if has_value(run, key) else _ABSENT


def _is_later(key: str) -> bool:
    entry = catalogue(RunConfig).get(key)
    return entry is not None and entry.later


def _varies(key: str, column: _Column) -> bool:
    counts = key != "seed" and (key in _NAMES or identity.enters_name(key))
    return counts and len(set(column) - {_ABSENT}) > 1


def _swept_first(values: dict[str, _Column], swept: Sequence[str]) -> list[str]:
    """Order the keys: swept settings first, a swept group (`model`) as its settings, name first."""
    ordered: dict[str, None] = {}
    for name in swept:
        if name in values:
            ordered[name] = None
        inner = [key for key in values if key.startswith(f"{name}.")]
        ordered |= dict.fromkeys(
            sorted(inner, key=lambda key: not key.endswith((".name", ".type")))
        )
    return list(dict.fromkeys([*ordered, *(k for k in _NAMES if k in values), *values]))


def _follows(
    key: str, values: dict[str, _Column], columns: dict[str, _Column], chosen: Sequence[str]
) -> bool:
    column, last = values[key], key.rpartition(".")[2]
    for other in chosen:
        if column == values[other]:
            return True
        group = other.rpartition(".")[0]
        if other in _NAMES and _function_of(column, values[other]):
            advice = (f"{group}.recommended.{last}", f"{group}.{last}")
            if key.startswith(f"{group}.") or any(columns.get(k) == column for k in advice):
                return True
    return False


def _function_of(column: _Column, other: _Column) -> bool:
    return len(set(zip(other, column, strict=True))) == len(set(other))


def _same_partition(column: _Column, other: _Column) -> bool:
    return _function_of(column, other) and _function_of(other, column)
