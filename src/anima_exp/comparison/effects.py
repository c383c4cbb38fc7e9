"""Estimate how much of the variance between runs each setting explains.

A linear model of main effects, with one term per setting (and one for the seed if there are several
seeds), is fitted to all runs by least squares. The share of a setting is the increase of the sum of
squared residuals when its term is left out, divided by the total sum of squares. On a balanced grid
this is eta squared, and the shares and the residual add up to 1. On other grids the settings
overlap: each share counts only what no other setting explains, and the shares may add up to less
than 1 (or, rarely, to more).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anima_exp.comparison.cells import Cell
from anima_exp.comparison.choose_metric import Metric
from anima_exp.comparison.settings import hashable, in_order
from anima_exp.metrics.intervals import Interval, around

Matrix = NDArray[np.float64]

_FEW_LEVELS, _MANY_LEVELS = 4, 24


@dataclass(frozen=True)
class Level:
    """The mean at one level of a setting, with equal weight for all levels of the others.

    The noise of the interval is everything that main effects do not explain: chance and
    interactions.
    """

    value: Any
    score: Interval


@dataclass(frozen=True)
class Effect:
    key: str
    levels: list[Level]
    spread: float  # between the best and the worst level's mean
    share: float  # of the variance between all runs
    together: tuple[str, ...] = ()  # settings that always changed with this one


@dataclass(frozen=True)
class Effects:
    effects: list[Effect]  # the largest share first
    residual: float  # interactions and chance
    balanced: bool  # whether the shares add up to 1
    skipped: tuple[str, ...] = ()  # searched over a range of values, shown as a plot
    saturated: bool = False  # as many terms as runs on an incomplete grid: no meaningful shares
    unstated: str | None = None  # why there are no effects

    @property
    def overlap(self) -> float:
        """The share that several settings could explain, because they changed together."""
        explained = self.residual + sum(effect.share for effect in self.effects)
        return 0.0 if self.balanced else max(1 - explained, 0.0)


def main_effects(cells: Sequence[Cell], keys: Sequence[str], metric: Metric) -> Effects:
    """Estimate the effects of the settings `keys`, which differ between the cells.

    The docstring of this module has the method.
    """
    found = [(cell, seed, score) for cell in cells for seed, score in cell.by_seed(metric).items()]
    columns = {key: [cell.settings.get(key) for cell, _, _ in found] for key in keys}
    skipped = tuple(key for key in keys if _is_a_range(columns[key]))
    factors, together = _merge_aliased({k: v for k, v in columns.items() if k not in skipped})
    seeds = [seed for _, seed, _ in found]
    if len(set(map(hashable, seeds))) > 1:
        factors["seed"] = seeds
    if len(found) < 2 or not factors:
        return Effects([], 0.0, True, skipped)
    if skipped and not _crossed([columns[key] for key in skipped], list(factors.values())):
        return Effects([], 0.0, True, skipped, unstated=_unstated(skipped))
    scores = np.array([score for _, _, score in found])
    terms = {key: _Term(values) for key, values in factors.items()}
    variance = float(((scores - scores.mean()) ** 2).sum())
    total = variance or 1.0  # without variance every share is 0
    model = _Model(terms, scores)
    effects = []
    for key, term in terms.items():
        others = _Model({k: t for k, t in terms.items() if k != key}, scores)
        share = max(others.residual - model.residual, 0.0) / total
        levels = [Level(v, model.mean_at(key, i)) for i, v in enumerate(term.levels)]
        means = [level.score.mean for level in levels]
        effects.append(
            Effect(key, levels, max(means) - min(means), share, tuple(together.get(key, ())))
        )
    residual = model.residual / total
    explained = sum(effect.share for effect in effects) + residual
    balanced = variance == 0 or abs(explained - 1) < 1e-6
    effects.sort(key=lambda effect: -effect.share)
    saturated = model.degrees == 0 and not balanced
    return Effects(effects, residual, balanced, skipped, saturated)


class _Term:
    """One setting in the model, in sum coding: a column per level except the last.

    The last level is minus the sum of the columns, so the constant is the mean over equally
    weighted levels.
    """

    def __init__(self, values: Sequence[Any]) -> None:
        self.levels = in_order(values)
        place = {hashable(level): i for i, level in enumerate(self.levels)}
        count = len(self.levels)
        self.coding: Matrix = np.vstack([np.eye(count - 1), -np.ones((1, count - 1))])
        self.rows = np.array([place[hashable(value)] for value in values])
        self.columns: Matrix = self.coding[self.rows]


class _Model:
    def __init__(self, terms: dict[str, _Term], scores: Matrix) -> None:
        self.terms, self.scores = terms, scores
        constant = np.ones((len(scores), 1))
        self.design: Matrix = np.hstack([constant, *(term.columns for term in terms.values())])
        self.inverse = np.linalg.pinv(self.design)
        self.weights = self.inverse @ scores
        # Rounding errors are not variance: set the residuals of an exact fit to 0.
        residuals = scores - self.design @ self.weights
        residuals[np.abs(residuals) < 1e-12 * np.abs(scores).max()] = 0.0
        self.residual = float((residuals**2).sum())
        self.degrees = len(scores) - int(np.linalg.matrix_rank(self.design))

    def mean_at(self, key: str, level: int) -> Interval:
        """Return the model's mean at a level; the runs' mean if the grid does not determine it."""
        term = self.terms[key]
        at_level = term.rows == level
        count = int(at_level.sum())
        parts = [
            other.coding[level] if name == key else np.zeros(other.coding.shape[1])
            for name, other in self.terms.items()
        ]
        asked = np.concatenate([[1.0], *parts])
        if not np.allclose(asked @ self.inverse @ self.design, asked, atol=1e-8):
            return Interval(float(self.scores[at_level].mean()), None, None, count)
        mean = float(asked @ self.weights)
        if self.degrees == 0:
            return Interval(mean, None, None, count)
        error = np.linalg.norm(asked @ self.inverse) * np.sqrt(self.residual / self.degrees)
        return around(mean, float(error), self.degrees, n=count)


def _is_a_range(values: Sequence[Any]) -> bool:
    """Return whether a setting was searched over a range: nearly as many values as runs."""
    levels = len(set(map(hashable, values)))
    return levels > _FEW_LEVELS and (levels > _MANY_LEVELS or 4 * levels > 3 * len(values))


def _crossed(ranges: Sequence[Sequence[Any]], factors: Sequence[Sequence[Any]]) -> bool:
    """Return whether every value of the ranges ran equally often with every other combination.

    Only then can a range be left out of the model without affecting other settings. A search tries
    good values more often, so a setting that was tried with a good rate would look good.
    """
    ours = [tuple(map(hashable, row)) for row in zip(*ranges, strict=True)]
    others = [tuple(map(hashable, row)) for row in zip(*factors, strict=True)]
    counts = Counter(zip(ours, others, strict=True))
    return len(counts) == len(set(ours)) * len(set(others)) and len(set(counts.values())) == 1


def _unstated(ranges: Sequence[str]) -> str:
    return (
        f"Effects cannot be estimated: nearly every run has its own {' and '.join(ranges)}, so "
        "the effects of the other settings cannot be separated from it."
    )


def _merge_aliased(
    columns: dict[str, list[Any]],
) -> tuple[dict[str, list[Any]], dict[str, list[str]]]:
    """Return the first of each set of settings that always change together, and its others."""
    first: dict[tuple[int, ...], str] = {}
    together: dict[str, list[str]] = {}
    for key, values in columns.items():
        places: dict[Any, int] = {}
        partition = tuple(places.setdefault(hashable(v), len(places)) for v in values)
        if len(places) < 2:
            continue
        if partition in first:
            together.setdefault(first[partition], []).append(key)
        else:
            first[partition] = key
    return {key: columns[key] for key in first.values()}, together
