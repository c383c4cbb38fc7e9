"""State in one sentence whether the best cell is better than the others beyond chance."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from anima_exp.comparison.cells import Cell
from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.leaderboard import Row
from anima_exp.comparison.runs import Run
from anima_exp.comparison.settings import hashable
from anima_exp.config import ForgettingConfig
from anima_exp.config.evals import EXACT_MATCH_TURNS
from anima_exp.evals.score_names import group
from anima_exp.metrics.intervals import Interval, apart, corrected, paired, welch
from anima_exp.metrics.metric import FORGETTING, HELDOUT_LOSS, NEUTRAL_LOSS, part_of_score


def verdict(rows: Sequence[Row], metric: Metric, *, repeat: str) -> str:
    """Return whether the first row differs from the others beyond chance, from their seeds.

    A wrong winner is named if chance lifts it above the truly best of k cells, which can be any of
    the k - 1 others. So each comparison is made at level 1 - 0.05 / (k - 1) (Bonferroni).

    Args:
        repeat: the command that adds seeds.
    """
    ranked = sorted(rows, key=lambda row: row.rank)
    if len(ranked) < 2:
        return "There is nothing to compare it with." if ranked else "There is nothing to compare."
    first, second, *_ = ranked
    between = apart(first.score.mean, second.score.mean)
    gap = metric.difference(abs(between)).lstrip("+")
    tied = [row.cell.label for row in ranked if not apart(first.score.mean, row.score.mean)]
    names = f"{first.cell.label} is ahead of {second.cell.label}"
    if between == 0:
        names = f"{_listed(tied)} tie at {metric.number(first.score.mean)}"
    if first.score.n < 2 or second.score.n < 2:
        alone = (
            "Each has one seed" if first.score.n == second.score.n else "One of them has one seed"
        )
        by = "" if between == 0 else f" by {gap}"
        return (
            f"{names}{by}. {alone}, which cannot tell a better setting from a lucky run. "
            f"Repeat: {repeat}"
        )
    compared = _compared(ranked, metric)
    alike = [row for row, found in compared if not (found and found.excludes_zero)]
    found = compared[0][1]
    assert found is not None and found.high is not None  # both have repeats
    how = f"{gap} ± {metric.difference(found.high - found.mean).lstrip('+')}"
    how += f", {_pairing(first, second, metric)}"
    if len(ranked) > 2:
        how += f", corrected for {len(ranked) - 1} comparisons"
    if not alike:
        others = "" if len(ranked) == 2 else f" and the {len(ranked) - 2} below it"
        return f"{first.cell.label} is better than {second.cell.label}{others} ({how})."
    if second in alike:
        more, beaten = len(alike) - max(len(tied) - 1, 1), len(compared) - len(alike)
        if between == 0:
            said, who = f"{names} ({how}).", first.cell.label
        else:
            said, who = f"{names}, but not beyond chance ({how}).", "it"
        said += f" Nor does {who} differ beyond chance from {more} more." if more else ""
        who = who if between == 0 else "It"
        return said + (f" {who} is better than the other {beaten}." if beaten else "")
    names = ", ".join(row.cell.label for row in alike[:3])
    rest = f" and {len(alike) - 3} more" if len(alike) > 3 else ""
    return (
        f"{first.cell.label} is better than {second.cell.label} ({how}), "
        f"but does not differ beyond chance from {names}{rest}, whose scores vary more or were not "
        "repeated."
    )


def _listed(labels: Sequence[str]) -> str:
    """Return `a and b`, or `a, b and 3 more`."""
    if len(labels) > 3:
        labels = [*labels[:2], f"{len(labels) - 2} more"]
    return f"{', '.join(labels[:-1])} and {labels[-1]}"


def leaders(rows: Sequence[Row], metric: Metric) -> list[Row]:
    """Return the best row and all that do not differ from it beyond chance; [] if all rows."""
    ranked = sorted(rows, key=lambda row: row.rank)
    found = [
        row for row, one in _compared(ranked, metric) if not (one is not None and one.excludes_zero)
    ]
    return [*ranked[:1], *found] if len(found) < len(ranked) - 1 else []


def _compared(ranked: Sequence[Row], metric: Metric) -> list[tuple[Row, Interval | None]]:
    """Return the difference of the first row from each other row, corrected for their number."""
    level = corrected(len(ranked) - 1)
    return [(row, _difference(ranked[0], row, metric, level)) for row in ranked[1:]]


def _difference(first: Row, other: Row, metric: Metric, level: float) -> Interval | None:
    ours, theirs = first.cell.by_seed(metric), other.cell.by_seed(metric)
    if len(ours) > 1 and ours.keys() == theirs.keys():
        return paired([ours[s] for s in ours], [theirs[s] for s in ours], level=level)
    if min(first.score.n, other.score.n) < 2:
        return None
    return welch(first.cell.values(metric), other.cell.values(metric), level=level)


def _pairing(first: Row, second: Row, metric: Metric) -> str:
    ours, theirs = first.cell.by_seed(metric), second.cell.by_seed(metric)
    if len(ours) > 1 and ours.keys() == theirs.keys():
        return f"paired over {len(ours)} seeds"
    return f"{first.score.n} and {second.score.n} seeds, unpaired"


# Cautions if the runs were made or measured differently: a score on other rows is another score.


_ON_HELDOUT_ROWS = ("heldout_loss", "exact_match", *EXACT_MATCH_TURNS)
# The settings that decide which rows are held out, and how much of them is measured.
_DECISIVE = (
    "data.max_rows",
    "data.recipe",
    "data.heldout_rows",
    "data.heldout_split",
    "data.heldout_path",
    "data.heldout_seed",
)
_OF_PROMPTS = ("data.max_prompt_tokens", "data.max_response_tokens")
_OF_CONVERSATIONS = (
    "data.thinking",
    "data.max_tokens",
    "data.too_long",
    "data.special_tokens_in_text",
)


def comparability_warning(runs: Sequence[Run], metric: Metric) -> str | None:
    """Return a caution if the scores of `runs` are not comparable; None if they are."""
    if metric.name in (NEUTRAL_LOSS, FORGETTING):
        return _other_texts(runs, metric)
    score = HELDOUT_LOSS if part_of_score(metric.name) else metric.name
    if score not in _ON_HELDOUT_ROWS or not runs:
        return None
    which = [*_DECISIVE, f"{group(metric.name, runs[0].settings)}.max_rows"]
    templates = {_template(run) for run in runs}
    which += _OF_PROMPTS if templates & {None} else ()
    which += _OF_CONVERSATIONS if templates - {None} else ()
    of_parts = (key for run in runs for key in run.settings if key.startswith("data.parts."))
    which += [key for key in dict.fromkeys(of_parts) if not key.endswith((".weight", ".path"))]
    differ = [key for key in which if len({hashable(r.settings.get(key)) for r in runs}) > 1]
    if len(templates - {None}) > 1:
        differ.append("data.template")
    own_file = all(run.settings.get("data.heldout_path") for run in runs)
    sources = {run.record.data_fingerprint for run in runs if run.record}
    if len(sources) > 1 and not own_file:
        differ.insert(0, "the data")
    if not differ:
        return None
    return (
        f"Caution: {metric.name} was not measured on the same rows in all runs. They differ in "
        f"{', '.join(differ)}. Compare runs that share them, with filter=; or give all one "
        "data.heldout_path."
    )


def _other_texts(runs: Sequence[Run], metric: Metric) -> str | None:
    """Return a caution if the neutral text was not the same in all runs."""
    of_text = [f"evals.forgetting.{one.name}" for one in fields(ForgettingConfig)]
    which = [key for key in of_text if not key.endswith("batch_tokens")]
    differ = [key for key in which if len({hashable(r.settings.get(key)) for r in runs}) > 1]
    if not differ:
        return None
    return (
        f"Caution: {metric.name} was not measured on the same text in all runs. They differ in "
        f"{', '.join(differ)}. Compare runs that share them, with filter=."
    )


def _template(run: Run) -> str | None:
    """Return the hash of the chat template of a run; None if its rows are no conversations."""
    return run.record.chat.get("template_hash") if run.record else None


def pooled(cells: Sequence[Cell], metric: Metric) -> str | None:
    """Return a caution if a cell's mean is over runs with different code, libraries or data."""
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
    text = "; ".join(f"{what} {_first_values(list(found))}" for what, found in differ.items())
    which = "A mean is" if pooling == 1 else f"{pooling} means are"
    return (
        f"Caution: {which} over runs with different code, libraries or data: {text}. "
        "Part of the variation may come from that."
    )


def repeated(cells: Sequence[Cell], metric: Metric) -> str | None:
    """Return a note if a seed of a cell has several runs, or copies of one."""
    more = sum(len(cell.scored(metric)) - len(cell.by_seed(metric)) for cell in cells)
    if not more:
        return None
    which = "1 run repeats" if more == 1 else f"{more} runs repeat"
    return f"{which} a seed of the same settings: the scores of a seed are averaged and count once."


def _made_of(run: Run) -> dict[str, str]:
    """Return the code, libraries and data of a run, from its record."""
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


def _first_values(values: Sequence[str]) -> str:
    shown = list(values[:3])
    if more := len(values) - len(shown):
        shown.append(f"{more} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]])
