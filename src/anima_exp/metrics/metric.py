"""What a score or a logged value is: its unit, which way is better, how it is written.

Every place that shows a metric writes it with this description: the terminal, the comparison, the
page, the model card.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from anima_exp.config import BENCHMARKS

_DIGITS = 4  # significant, of a metric that nothing is known about
_HUGE = 1e7  # of a run that diverged: its digits say nothing


_DIRECTIONS = ("minimize", "maximize")


@dataclass(frozen=True)
class Form:
    """How a metric is written: 0.46 as `46.0 %`, 2156.3 as `2,156 tokens/s`."""

    decimals: int | None = None  # None: as many as four significant digits of a column need
    unit: str = ""
    difference_unit: str | None = None  # if it is another than `unit`
    factor: float = 1.0
    grouped: bool = False  # 2,156


_LOSS = Form(4)
_SHARE = Form(1, " %", " pp", 100.0)
_FORMS = {
    "bits_per_byte": _LOSS,
    "perplexity": Form(2),
    "grad_norm": Form(3),
    "learning_rate": Form(),
    "tokens_per_second": Form(0, " tokens/s", grouped=True),
    "memory_gib": Form(2, " GiB"),
    "elo": Form(0),
    "bradley_terry": Form(0),
    "percent_of_reference": Form(1, " %", " pp"),  # is 0 to 100 already
}
# The last words of their names.
_LOSSES = ("loss",)
_SHARES = (
    *BENCHMARKS, "exact_match", "accuracy", "micro", "share", "rate", "match",
)  # fmt: skip
_SMALLER_IS_BETTER = (
    "loss", "perplexity", "error", "seconds", "bits_per_byte", "grad_norm", "memory_gib",
)  # fmt: skip


@dataclass(frozen=True)
class Described:
    """What its maker says of a score: which way is better, and how it is written.

    `Described("minimize", unit="edits", decimals=1)` is written as `3.5 edits`.
    """

    direction: str  # minimize, maximize
    unit: str = ""
    decimals: int | None = None  # None: four significant digits
    percent: bool = False  # a share from 0 to 1, written as 46.0 %

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


@dataclass(frozen=True)
class Metric:
    """A named number. `Metric("mmlu", "maximize").number(0.4612)` is `46.1 %`."""

    name: str
    direction: str  # minimize, maximize
    column: int | None = field(default=None, compare=False)  # decimals of the column it stands in
    described: Form | None = None  # by its maker; None: as its name suggests

    @property
    def minimize(self) -> bool:
        return self.direction == "minimize"

    @property
    def form(self) -> Form:
        if self.described is not None:
            return self.described
        if self.name in _FORMS:
            return _FORMS[self.name]
        if _ends(self.name, _LOSSES):
            return _LOSS
        return _SHARE if _ends(self.name, _SHARES) else Form()

    def sort_key(self, value: float) -> float:
        """Return a number to sort by: smaller is better in either direction."""
        return value if self.minimize else -value

    def decimals(self, values: Iterable[float]) -> int:
        """Return how many decimals all of `values` have in one column."""
        if self.form.decimals is not None:
            return self.form.decimals
        sizes = [abs(value) for value in values if value and math.isfinite(value)]
        if not sizes:
            return 1
        return max(_DIGITS - 1 - math.floor(math.log10(max(sizes))), 0)

    def in_column(self, values: Iterable[float]) -> "Metric":
        """Return this metric so that it writes all of `values` with one number of decimals."""
        return replace(self, column=self.decimals(values))

    def number(self, value: float) -> str:
        return self.bare(value) + self.form.unit

    def bare(self, value: float) -> str:
        """Return the number without its unit."""
        return self._written(value, "")

    def difference(self, value: float) -> str:
        """Return a difference with its sign; those of shares are percentage points."""
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
    """Return the metric `name`, as its maker describes it, else as its name suggests.

    Args:
        described: descriptions by score, as `record.json` holds them in `metrics`.
    """
    if found := _described(described.get(name) if described else None):
        return Metric(name, found.direction, described=found.form)
    return Metric(name, "minimize" if _ends(name, _SMALLER_IS_BETTER) else "maximize")


def _described(table: Any) -> Described | None:
    """Read a description; what another version or an editor has left there may be none."""
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
