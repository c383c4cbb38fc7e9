"""Answer the question that a sweep asks, from all of its runs and not from its best cell alone.

A question about one setting ("does a higher rank help?") is answered by its levels, compared
pairwise: the runs of a pair differ in nothing but that setting, wherever such pairs exist. A
question about several settings is answered by how much of the variance each one explains.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean
from typing import Any

from anima_exp.comparison.cells import Cell, scores_by_level
from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.effects import Effects
from anima_exp.comparison.leaderboard import Row
from anima_exp.comparison.runs import Sweep
from anima_exp.comparison.settings import format_value, hashable, headings, short
from anima_exp.metrics.intervals import Interval, corrected, paired, welch
from anima_exp.system.invocation import command_line, program_length
from anima_exp.system.paths import shipped

Scores = dict[Any, float]  # (the other settings, seed) -> score


@dataclass(frozen=True)
class Pair:
    """Two levels of a setting, the better one by its mean first."""

    first: Any
    second: Any
    difference: Interval | None  # first - second; None if it cannot be estimated
    pairs: int  # pairs of runs that differ in nothing else; 0: compared unpaired

    @property
    def differs(self) -> bool:
        return self.difference is not None and self.difference.excludes_zero


@dataclass(frozen=True)
class Answer:
    sentence: str
    key: str | None = None  # the setting that the question is about, if it is about one
    pairs: list[Pair] = field(default_factory=list)


def answer(
    cells: Sequence[Cell],
    keys: Sequence[str],
    metric: Metric,
    effects: Effects,
    *,
    about: str | None = None,
) -> Answer | None:
    """Return the answer, or None if the runs give none.

    Args:
        keys: the settings that differ between `cells`.
        about: the one of them that the question is about; by default the only one that differs.
    """
    key = about if about in keys else keys[0] if len(keys) == 1 else None
    if key is not None:
        return _levels(cells, keys, key, metric)
    return _shares(effects, metric)


def _levels(cells: Sequence[Cell], keys: Sequence[str], key: str, metric: Metric) -> Answer | None:
    values = {hashable(cell.settings.get(key)): cell.settings.get(key) for cell in cells}
    found = scores_by_level(cells, key, keys, metric)
    scores = {level: pairs for level, pairs in found.items() if pairs}
    ranked = sorted(scores, key=lambda level: metric.sort_key(fmean(scores[level].values())))
    if len(ranked) < 2:
        return None
    comparisons = len(ranked) * (len(ranked) - 1) // 2
    level = corrected(comparisons)  # each of the pairs could differ by chance
    pairs = [
        Pair(values[a], values[b], *_difference(scores[a], scores[b], level=level))
        for a, b in combinations(ranked, 2)
    ]
    if not any(pair.difference for pair in pairs):
        return None  # one run per level: verdict.py gives the command that repeats them
    return Answer(_sentence(key, pairs, metric), key, pairs)


def _difference(a: Scores, b: Scores, *, level: float) -> tuple[Interval | None, int]:
    shared = [pair for pair in a if pair in b]
    if len(shared) > 1:
        return paired([a[s] for s in shared], [b[s] for s in shared], level=level), len(shared)
    if min(len(a), len(b)) > 1:
        return welch(list(a.values()), list(b.values()), level=level), 0
    return None, 0


def _sentence(key: str, pairs: Sequence[Pair], metric: Metric) -> str:
    name, best = short(key), pairs[0].first
    against = [pair for pair in pairs if pair.first is best]
    better = [format_value(pair.second) for pair in against if pair.differs]
    alike = [format_value(pair.second) for pair in against if not pair.differs]
    deciding = next((pair for pair in [*against, *pairs] if pair.differs), against[-1])
    how = f"({_size(deciding, len(pairs), metric)})"
    if not deciding.differs:
        levels = _listed([format_value(best), *alike])
        return f"No two values of {name} differ beyond chance: {levels} {how}."
    if not alike:
        return f"{name}={format_value(best)} is better than {_listed(better)} {how}."
    ahead = f"{name}={format_value(best)} is ahead, but not beyond chance, of {_listed(alike)}"
    if better:
        return f"{ahead}; it is better than {_listed(better)} {how}."
    rest = f"{format_value(deciding.first)} is better than {format_value(deciding.second)}"
    return f"{ahead}; {rest} {how}."


def _size(pair: Pair, comparisons: int, metric: Metric) -> str:
    """Return how large a difference is, without its sign, and how it was estimated."""
    estimate = pair.difference
    if estimate is None or estimate.half is None:
        return "one run at a value"
    size, half = metric.bare(abs(estimate.mean)), metric.bare(estimate.half)
    how = f"paired over {pair.pairs} runs of each" if pair.pairs else "unpaired"
    if comparisons > 1:
        how += f", corrected for {comparisons} comparisons"
    levels = f"{format_value(pair.first)} against {format_value(pair.second)}"
    return f"{levels}: {size} ± {half}{metric.difference_unit}, {how}"


def _listed(names: Sequence[str], *, at_most: int = 5) -> str:
    """Return `8`, `8 and 16`, or `8, 16 and 32`; of many, the first few and how many more."""
    if len(names) > at_most:
        names = [*names[: at_most - 1], f"{len(names) - at_most + 1} more"]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _shares(effects: Effects, metric: Metric) -> Answer | None:
    found = [effect for effect in effects.effects if effect.key != "seed"]
    if effects.saturated or len(found) < 2:
        return None
    names = headings([effect.key for effect in found])
    shares = [f"{names[effect.key]} {100 * effect.share:.1f} %" for effect in found]
    if found[0].share <= effects.residual:
        rest = f"interactions and chance {100 * effects.residual:.1f} %"
        return Answer(
            f"No setting stands out: of the variance of {metric.name}, "
            f"{_listed([*shares, rest], at_most=7)}."
        )
    first = f"{names[found[0].key]} matters most: it explains {100 * found[0].share:.1f} % of the "
    return Answer(f"{first}variance of {metric.name}; {_listed(shares[1:])}.")


# The command that repeats the best cells with more seeds.


SEEDS = "seed=0,1,2"


def repeat(rows: Sequence[Row], sweeps: Sequence[Sweep]) -> str:
    """Return the sweep's command with three seeds; for a search, those of its two best trials.

    A search would treat the seed as one more setting and select a lucky one. So its trials are
    repeated as grids, with seeds that they have not used.
    """
    if len({sweep.command for sweep in sweeps}) != 1:
        return command_line("train", ["-m", "...", SEEDS])
    words = shlex.split(sweeps[0].command)
    if not sweeps[0].is_search:
        return shlex.join([*(word for word in words if not _is_seed(word)), SEEDS])
    found = []
    for row in sorted(rows, key=lambda row: row.rank)[:2]:
        run = row.cell.runs[0]
        own = [word for word in run.overrides if not (_is_seed(word) or _is_shipped_grid(word))]
        # The best of many trials is partly lucky, and only new seeds show how much.
        first = run.seed + 1 if isinstance(run.seed, int) else 0
        seeds = f"seed={first},{first + 1},{first + 2}"
        found.append(shlex.join([*_start(words), "-m", *own, seeds]))
    return " and ".join(found)


def _is_seed(word: str) -> bool:
    return re.match(r"\+{0,2}seed=", word) is not None


def _is_shipped_grid(word: str) -> bool:
    """Return whether an override selects a shipped grid, which a single trial does not need."""
    name = word.removeprefix("sweep=")
    return name != word and (shipped("sweeps") / f"{name}.yaml").is_file()


def _start(words: Sequence[str]) -> list[str]:
    """`anima-exp train --config-dir FOLDER`, of the command that was typed."""
    length = program_length(words)
    kept, rest = list(words[:length]), list(words[length:])
    for place, word in enumerate(rest):
        if word.startswith("--config-dir="):
            kept.append(word)
        elif word in ("--config-dir", "-cd"):
            kept += rest[place : place + 2]
    return kept
