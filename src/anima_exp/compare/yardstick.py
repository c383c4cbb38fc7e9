"""Whether the runs were made and measured alike: a score on other rows is another score."""

from collections.abc import Sequence
from typing import Any

from anima_exp.compare.cells import Cell
from anima_exp.compare.metric import Metric
from anima_exp.compare.runs import Run
from anima_exp.compare.settings import comparable

_ON_HELDOUT_ROWS = ("heldout_loss", "exact_match")
# What decides which rows are held out, and how much of them is seen.
_DECISIVE = (
    "data.rows",
    "data.recipe",
    "data.heldout_rows",
    "data.heldout_split",
    "data.heldout_path",
    "data.heldout_seed",
    "data.max_prompt_tokens",
    "data.max_response_tokens",
)


def caution(runs: Sequence[Run], metric: Metric) -> str | None:
    """One sentence for the reader where the scores of `runs` do not compare; None if they do."""
    if metric.name not in _ON_HELDOUT_ROWS:
        return None
    which = [*_DECISIVE, f"evals.{metric.name.removesuffix('_loss')}.max_rows"]
    differ = [key for key in which if len({comparable(r.settings.get(key)) for r in runs}) > 1]
    own_file = all(run.settings.get("data.heldout_path") for run in runs)
    sources = {run.record.data_fingerprint for run in runs if run.record}
    if len(sources) > 1 and not own_file:
        differ.insert(0, "the data")
    if not differ:
        return None
    return (
        f"Caution: {metric.name} was not measured on the same rows everywhere: the runs differ in "
        f"{', '.join(differ)}. Compare runs that share them, with --filter; or give all one "
        "data.heldout_path."
    )


def pooled(cells: Sequence[Cell], metric: Metric) -> str | None:
    """Return a caution where a cell's mean is over runs of different code, libraries or data."""
    differ: dict[str, dict[str, None]] = {}  # what -> its values
    pooling = 0
    for cell in cells:
        made = [_made_of(run) for run in cell.scored(metric)]
        known = dict.fromkeys(what for one in made for what in one)
        values = {what: dict.fromkeys(one[what] for one in made if what in one) for what in known}
        several = {what: found for what, found in values.items() if len(found) > 1}
        pooling += bool(several)
        for what, found in several.items():
            differ.setdefault(what, {}).update(found)
    if not differ:
        return None
    told = "; ".join(f"{what} {_listed(list(found))}" for what, found in differ.items())
    which = "A mean is" if pooling == 1 else f"{pooling} means are"
    return (
        f"Caution: {which} over runs that were made differently: {told}. "
        "What looks like chance may come from that."
    )


def repeated(cells: Sequence[Cell], metric: Metric) -> str | None:
    """Return one sentence where a seed of a cell has several runs, or copies of one."""
    more = sum(len(cell.scored(metric)) - len(cell.by_seed(metric)) for cell in cells)
    if not more:
        return None
    which = "1 run repeats" if more == 1 else f"{more} runs repeat"
    return (
        f"{which} a seed of the same settings: the scores of a seed are averaged, "
        "and it counts once."
    )


def _made_of(run: Run) -> dict[str, str]:
    """Return what a run was made with, as far as its record says."""
    if run.record is None:
        return {}
    found = {"commit": _commit(run.record.git), **run.record.versions}
    found["the data's fingerprint"] = _brief(run.record.data_fingerprint)
    found["the base's fingerprint"] = _brief(run.record.base_fingerprint)
    return found


def _commit(git: dict[str, Any]) -> str:
    if not git:
        return "unknown"
    changed = " with uncommitted changes" if git.get("dirty") else ""
    return f"{str(git.get('commit'))[:7]}{changed}"


def _brief(fingerprint: str) -> str:
    return fingerprint.rpartition(":")[2][:8]


def _listed(values: Sequence[str]) -> str:
    shown = list(values[:3])
    if more := len(values) - len(shown):
        shown.append(f"{more} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]])
