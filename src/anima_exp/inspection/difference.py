"""Compare two runs: the settings, scores and costs that differ, side by side.

diff = difference(run_detail(a), run_detail(b))
diff.settings["lora.rank"]  # (8, 64)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anima_exp.comparison.cells import value_of
from anima_exp.comparison.runs import read_run
from anima_exp.comparison.settings import hashable
from anima_exp.inspection.detail import RunDetail
from anima_exp.results.identity import enters_name

Pair = tuple[Any, Any]
# Costs and origins of a record, in the order in which they are shown.
_COSTS = ("steps", "tokens", "train_seconds", "eval_seconds", "peak_memory_gib", "processes")
_ORIGINS = ("data_fingerprint", "base_fingerprint", "code", "ended")


@dataclass(frozen=True)
class Difference:
    """The differences of two runs. Each pair is (the first run's, the second run's)."""

    first: RunDetail
    second: RunDetail
    settings: Mapping[str, Pair]  # that results depend on
    other_settings: Mapping[str, Pair]  # that no result depends on: logging, folders
    scores: Mapping[str, Pair]  # after training; None where a run has none
    costs: Mapping[str, Pair]
    versions: Mapping[str, Pair]  # of packages and hardware, and the origins of data and base

    @property
    def same(self) -> bool:
        """Return whether nothing that could change a result differs."""
        return not (self.settings or self.scores)


def difference(first: RunDetail, second: RunDetail) -> Difference:
    """Return what differs between two runs."""
    runs = [read_run(one.summary.folder) for one in (first, second)]
    keys = dict.fromkeys([*first.settings, *second.settings])
    result: dict[str, Pair] = {
        key: (value_of(runs[0], key), value_of(runs[1], key)) for key in keys
    }
    # settings.json of an unfinished run has only what its name depends on, and of files the hash.
    known = [one.settings for one in (first, second)]
    if any(one.record is None for one in (first, second)):
        result = {key: pair for key, pair in result.items() if all(key in one for one in known)}
    settings = {key: pair for key, pair in result.items() if hashable(pair[0]) != hashable(pair[1])}
    scores = {
        name: pair
        for name in dict.fromkeys([*first.scores, *second.scores])
        if len({*(pair := (_after(first, name), _after(second, name)))}) > 1
    }
    return Difference(
        first,
        second,
        {key: pair for key, pair in settings.items() if enters_name(key)},
        {key: pair for key, pair in settings.items() if not enters_name(key)},
        scores,
        _of_records(first, second, _COSTS),
        _of_records(first, second, _ORIGINS) | _versions(first, second),
    )


def _after(detail: RunDetail, name: str) -> float | None:
    score = detail.scores.get(name)
    return score.after if score else None


def _of_records(first: RunDetail, second: RunDetail, names: tuple[str, ...]) -> dict[str, Pair]:
    if first.record is None or second.record is None:
        return {}
    pairs = {name: (getattr(first.record, name), getattr(second.record, name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _versions(first: RunDetail, second: RunDetail) -> dict[str, Pair]:
    if first.record is None or second.record is None:
        return {}
    tables = [one.versions | one.hardware for one in (first.record, second.record)]
    keys = dict.fromkeys([*tables[0], *tables[1]])
    pairs = {key: (tables[0].get(key), tables[1].get(key)) for key in keys}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
