"""The leaderboard's first rows -> one sentence: is the winner better, or only ahead?"""

import shlex
from collections.abc import Sequence

from anima_exp.compare.leaderboard import Row
from anima_exp.compare.metric import Metric
from anima_exp.compare.statistics import Interval, paired, welch

_REPEAT = "python -m anima_exp.train -m ..."


def verdict(rows: Sequence[Row], metric: Metric, *, command: str | None = None) -> str:
    """Whether the first row can be told from the others, by their repeats.

    To name a wrong winner, chance must lift it above the truly best of k cells, which any of the
    k - 1 others could be: so each comparison is made at 1 - 0.05 / (k - 1) (Bonferroni).

    Args:
        command: the sweep's; it is what should be run with more seeds.
    """
    ranked = sorted(rows, key=lambda row: row.rank)
    if len(ranked) < 2:
        return "There is nothing to compare it with." if ranked else "There is nothing to compare."
    first, second, *_ = ranked
    names = f"{first.cell.label} is ahead of {second.cell.label}"
    gap = metric.difference(abs(first.score.mean - second.score.mean)).lstrip("+")
    if first.score.n < 2 or second.score.n < 2:
        alone = (
            "Each has one seed" if first.score.n == second.score.n else "One of them has one seed"
        )
        again = with_seeds(command) if command else f"{_REPEAT} seed=0,1,2"
        return (
            f"{names} by {gap}. {alone}, which cannot tell a better setting from a lucky run. "
            f"Repeat: {again}"
        )
    level = 1 - 0.05 / (len(ranked) - 1)
    compared = [(row, _difference(first, row, metric, level)) for row in ranked[1:]]
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
        more, beaten = len(alike) - 1, len(compared) - len(alike)
        others = f" Nor can it be told from {more} more." if more else ""
        others += f" It is better than the other {beaten}." if beaten else ""
        return f"{names}, but cannot be told from it ({how}).{others}"
    names = ", ".join(row.cell.label for row in alike[:3])
    rest = f" and {len(alike) - 3} more" if len(alike) > 3 else ""
    return (
        f"{first.cell.label} is better than {second.cell.label} ({how}), "
        f"but cannot be told from {names}{rest}, whose scores vary more or were not repeated."
    )


def with_seeds(command: str) -> str:
    """A sweep's command, quoted for a shell, with three seeds in place of its own."""
    words = [word for word in shlex.split(command) if not word.startswith("seed=")]
    return shlex.join([*words, "seed=0,1,2"])


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
