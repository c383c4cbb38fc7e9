"""Describe metrics: unit, direction, and number format.

The terminal, the comparison, the HTML pages and the model card all format metrics with this
description.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from anima_exp.config import BENCHMARKS
from anima_exp.config.evals import EXACT_MATCH_TURNS

_DIGITS = 4  # significant digits of an unknown metric
_HUGE = 1e7  # values of a diverged run, written with few digits


HELDOUT_LOSS = "heldout_loss"
NEUTRAL_LOSS, FORGETTING = "neutral_loss", "forgetting"
_OF_A_PART = f"{HELDOUT_LOSS}_"

_DIRECTIONS = ("minimize", "maximize")


@dataclass(frozen=True)
class Form:
    """The number format of a metric: 0.46 as `46.0 %`, 2156.3 as `2,156 tokens/s`."""

    decimals: int | None = None  # None: as needed for four significant digits in a column
    unit: str = ""
    difference_unit: str | None = None  # if it differs from `unit`
    factor: float = 1.0
    grouped: bool = False  # 2,156


_LOSS = Form(4)
_SHARE = Form(1, " %", " pp", 100.0)
_FORMS = {
    "bits_per_byte": _LOSS,
    FORGETTING: _LOSS,
    "perplexity": Form(2),
    "grad_norm": Form(3),
    "learning_rate": Form(),
    "tokens_per_second": Form(0, " tokens/s", grouped=True),
    "memory_gib": Form(2, " GiB"),
    "elo": Form(0),
    "bradley_terry": Form(0),
    "percent_of_reference": Form(1, " %", " pp"),  # already in per cent
}
# A metric is recognized by the last words of its name.
_LOSSES = ("loss",)
_SHARES = (
    *BENCHMARKS, "exact_match", *EXACT_MATCH_TURNS, "accuracy", "micro", "share", "rate", "match",
)  # fmt: skip
_SMALLER_IS_BETTER = (
    "loss", "perplexity", "error", "seconds", "bits_per_byte", "grad_norm", "memory_gib",
    FORGETTING,
)  # fmt: skip


@dataclass(frozen=True)
class Described:
    """An author's description of a score: its direction and its number format.

    `Described("minimize", unit="edits", decimals=1)` formats a score as `3.5 edits`.
    """

    direction: str  # minimize, maximize
    unit: str = ""
    decimals: int | None = None  # None: four significant digits
    percent: bool = False  # a proportion from 0 to 1, written as 46.0 %

    def __post_init__(self) -> None:
        if self.direction not in _DIRECTIONS:
            raise ValueError(f"direction={self.direction!r} is neither minimize nor maximize")
        if self.decimals is not None and not 0 <= self.decimals <= 20:
            raise ValueError(f"decimals={self.decimals} is not between 0 and 20")

    @property
    def form(self) -> Form:
        if self.percent:
            return Form(
                _SHARE.decimals if self.decimals is None else self.decimals, " %", " pp", 100.0
            )
        return Form(self.decimals, f" {self.unit.strip()}" if self.unit.strip() else "")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def part_score(name: str) -> str:
    """Return the score of a mixture's part on its held-out rows: heldout_loss_poems."""
    return f"{_OF_A_PART}{name}"


def part_of_score(score: str) -> str | None:
    """Return the part of a mixture whose held-out loss this is; None if it is another score."""
    return score.removeprefix(_OF_A_PART) if score.startswith(_OF_A_PART) else None


@dataclass(frozen=True)
class Metric:
    """A metric with its format. `Metric("mmlu", "maximize").number(0.4612)` is `46.1 %`."""

    name: str
    direction: str  # minimize, maximize
    column: int | None = field(default=None, compare=False)  # decimals of its column in a table
    described: Form | None = None  # by its author; None: from its name

    @property
    def minimize(self) -> bool:
        return self.direction == "minimize"

    @property
    def form(self) -> Form:
        if self.described is not None:
            return self.described
        if self.name in _FORMS:
            return _FORMS[self.name]
        if _ends(self.name, _LOSSES) or part_of_score(self.name):
            return _LOSS
        return _SHARE if _ends(self.name, _SHARES) else Form()

    def sort_key(self, value: float) -> float:
        """Return a number to sort by: smaller is better, for either direction."""
        return value if self.minimize else -value

    def decimals(self, values: Iterable[float]) -> int:
        """Return the number of decimals for `values` in one column."""
        if self.form.decimals is not None:
            return self.form.decimals
        sizes = [abs(value) for value in values if value and math.isfinite(value)]
        if not sizes:
            return 1
        return max(_DIGITS - 1 - math.floor(math.log10(max(sizes))), 0)

    def in_column(self, values: Iterable[float]) -> "Metric":
        """Return this metric with one number of decimals for all of `values`."""
        return replace(self, column=self.decimals(values))

    def number(self, value: float) -> str:
        return self.bare(value) + self.form.unit

    def with_interval(self, value: float, ends: Sequence[float] | None) -> str:
        """Return `0.0417 (0.0312 to 0.0518)`; without an interval only the number."""
        text = self.number(value)
        return f"{text} ({self.bare(ends[0])} to {self.bare(ends[1])})" if ends else text

    def bare(self, value: float) -> str:
        """Return the number without its unit."""
        return self._written(value, "")

    def difference(self, value: float) -> str:
        """Return a difference with its sign; for proportions in percentage points."""
        return self.bare_difference(value) + self.difference_unit

    def bare_difference(self, value: float) -> str:
        return self._written(value, "+")

    @property
    def difference_unit(self) -> str:
        form = self.form
        return form.unit if form.difference_unit is None else form.difference_unit

    def _written(self, value: float, sign: str) -> str:
        shown = self.form.factor * value
        if not math.isfinite(shown) or abs(shown) >= _HUGE:
            return f"{shown:{sign}.{_DIGITS}g}"
        decimals = self.decimals([value]) if self.column is None else self.column
        return f"{shown:{sign}{',' * self.form.grouped}.{decimals}f}"


def metric(name: str, described: Mapping[str, Any] | None = None) -> Metric:
    """Return the metric `name`, as its author describes it, otherwise as its name suggests.

    Args:
        described: descriptions by score, as stored under `metrics` in `record.json`.
    """
    if found := _described(described.get(name) if described else None):
        return Metric(name, found.direction, described=found.form)
    smaller = _ends(name, _SMALLER_IS_BETTER) or part_of_score(name)
    return Metric(name, "minimize" if smaller else "maximize")


def _described(table: object) -> Described | None:
    """Read a stored description; None if it is invalid, for example by another version."""
    if not isinstance(table, Mapping):
        return None
    unit, decimals = table.get("unit"), table.get("decimals")
    try:
        return Described(
            str(table["direction"]),
            unit=unit if isinstance(unit, str) else "",
            decimals=decimals if isinstance(decimals, int) else None,
            percent=table.get("percent") is True,
        )
    except (KeyError, ValueError):
        return None


def _ends(name: str, words: Iterable[str]) -> bool:
    return any(name == word or name.endswith(f"_{word}") for word in words)
