"""Define the space of a search: the fixed overrides, and a distribution per searched setting.

The grammar is Hydra's: `lora.rank=8,16,64` is a choice, `interval(1e-4, 1e-2)` any number in
between, `int(interval(8, 64))` any whole number, and `tag(log, ...)` searches on a log scale.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, get_args

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from anima_exp.config.program_settings import settings
from anima_exp.errors import ConfigError
from anima_exp.libraries.hydra_internals import (
    IntervalSweep,
    Override,
    OverridesParser,
    RangeSweep,
)
from anima_exp.sweeping.expand import as_text, check_range

_LARGEST = 1e15  # beyond it, floats cannot represent every whole number

Values = dict[str, Any]  # drawn by Optuna: {"lora.rank": "8", "optimizer.learning_rate": 2.1e-4}


@dataclass(frozen=True)
class Space:
    fixed: tuple[str, ...]  # overrides of every trial
    searched: dict[str, BaseDistribution]

    def overrides(self, values: Values) -> tuple[str, ...]:
        """Return the overrides of one trial."""
        drawn = (f"{key}={_written(d, values[key])}" for key, d in self.searched.items())
        return (*self.fixed, *drawn)

    @property
    def corners(self) -> list[tuple[str, ...]]:
        """The trials with all first and with all last values, to test whether they compose."""
        ends = [{key: _ends(d)[i] for key, d in self.searched.items()} for i in (0, 1)]
        return [self.overrides(values) for values in ends]

    def lines(self, name: Callable[[str], str] = str) -> list[str]:
        """Each searched setting as its user wrote it, or nearly.

        Args:
            name: how to call a setting.
        """
        return [f"{name(key)}={_shown(d)}" for key, d in self.searched.items()]


def search_space(
    parser: OverridesParser, arguments: Sequence[str], params: Mapping[str, Any]
) -> Space:
    """Return the space of a search. The command line replaces the same key in `params`.

    Raises:
        ConfigError: if nothing is searched, or a setting cannot be searched as requested.
    """
    given = parser.parse_overrides(list(arguments))
    own = {override.get_key_element() for override in given}
    texts = [f"{key}={as_text(value)}" for key, value in params.items() if key not in own]
    fixed, searched = [], {}
    for override in [*parser.parse_overrides(texts), *given]:
        if override.is_sweep_override():
            searched[override.get_key_element()] = _distribution(override)
        else:
            fixed.append(str(override.input_line))
    if not searched:
        raise ConfigError(
            "hydra/sweeper=optuna has nothing to search. Give a setting several values, as in "
            "lora.rank=8,16,64 or 'optimizer.learning_rate=tag(log, interval(1e-4, 1e-2))'."
        )
    return Space(tuple(fixed), searched)


def _distribution(override: Override) -> BaseDistribution:
    key, value, line = override.get_key_element(), override.value(), override.input_line
    tags = set(getattr(value, "tags", None) or ())
    if unknown := tags - {"log"}:
        raise ConfigError(f"{line}: '{min(unknown)}' is not a tag of a search. Use tag(log, ...).")
    log = "log" in tags
    try:
        if isinstance(value, IntervalSweep):
            _refuse_endless(line, value)
            _refuse_fractions(key, value)
            return _between(value.start or 0, value.end or 0, log=log)
        if isinstance(value, RangeSweep):
            check_range(override)
            numbers = [float(text) for text in override.sweep_string_iterator()]
            if value.shuffle or not numbers:
                raise ValueError("a searched range must not be shuffled and must hold a number")
            return _steps(numbers, step=value.step, log=log)
    except ValueError as error:  # Optuna's: low > high, log of 0, log with a step
        raise ConfigError(f"{line}: {str(error).rstrip('.')}.") from error
    if log:
        raise ConfigError(f"{line}: tag(log, ...) needs an interval, not a list.")
    # Sort a shuffled list, because another order would be another search.
    choices = list(dict.fromkeys(map(str, override.sweep_string_iterator())))
    if getattr(value, "shuffle", False):
        choices.sort()
    if not choices:
        raise ConfigError(f"{line}: the list is empty. Give it at least one value.")
    return CategoricalDistribution(choices)


def _refuse_endless(line: str | None, value: IntervalSweep) -> None:
    """Raise ConfigError if Optuna cannot sample between the ends of an interval."""
    ends = (value.start or 0, value.end or 0)
    if not all(map(isfinite, (*ends, ends[1] - ends[0]))) or max(map(abs, ends)) > _LARGEST:
        raise ConfigError(
            f"{line}: an interval needs finite ends of at most {_LARGEST:.0e}, as in "
            "interval(1e-4, 1)."
        )


def _refuse_fractions(key: str, value: IntervalSweep) -> None:
    hint = settings().get(key)
    whole = int in (hint, *get_args(hint)) and float not in get_args(hint)
    if whole and not isinstance(value.start, int):
        ends = f"{value.start:g}, {value.end:g}"
        raise ConfigError(
            f"{key}=interval({ends}): {key} is a whole number. Search it with "
            f"'{key}=int(interval({ends}))'."
        )


def _between(low: float, high: float, *, log: bool) -> BaseDistribution:
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _steps(numbers: list[float], *, step: float, log: bool) -> BaseDistribution:
    low, high = min(numbers), max(numbers)
    if all(number.is_integer() for number in numbers):
        return IntDistribution(int(low), int(high), log=log, step=abs(int(step)))
    return FloatDistribution(low, high, log=log, step=abs(step))


def _written(distribution: BaseDistribution, value: object) -> str:
    if not isinstance(distribution, FloatDistribution):
        return str(value)
    # Four digits are enough and readable. A value outside the bounds keeps all digits.
    short = f"{value:.4g}"
    inside = distribution.low <= float(short) <= distribution.high
    return short if inside else repr(value)


def _ends(distribution: BaseDistribution) -> tuple[Any, Any]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0], distribution.choices[-1]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.low, distribution.high


def _shown(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ",".join(map(str, distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    text = f"interval({distribution.low:g}, {distribution.high:g})"
    if isinstance(distribution, IntDistribution):
        text = f"int({text})"
    if distribution.step not in (None, 1):
        text += f" in steps of {distribution.step:g}"
    return f"tag(log, {text})" if distribution.log else text


# The sampler suggests trials, and the pruner ends some of them early.


_MOST = 100_000  # trials: each suggestion takes longer than the one before
_LARGEST_SEED = 2**32 - 1  # NumPy's limit

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}


@dataclass(frozen=True)
class Steps:
    """The steps at which a trial can be pruned."""

    first: int  # the first evaluation, or log line
    last: int
    factor: int  # sweep.reduction_factor: one in so many trials continues


PRUNERS: dict[str, Callable[[Steps], BasePruner]] = {
    "none": lambda steps: optuna.pruners.NopPruner(),
    "median": lambda steps: optuna.pruners.MedianPruner(),
    "successive_halving": lambda steps: optuna.pruners.SuccessiveHalvingPruner(
        min_resource=steps.first, reduction_factor=steps.factor
    ),
    "hyperband": lambda steps: optuna.pruners.HyperbandPruner(
        min_resource=steps.first, max_resource=steps.last, reduction_factor=steps.factor
    ),
}


@dataclass(frozen=True)
class Search:
    """The settings hydra.sweeper.* of a search, without its space."""

    n_trials: int  # in total, over all starts
    sampler: str
    pruner: str
    seed: int
    batch_size: int

    def check(self) -> None:
        """Raise ConfigError if a value is invalid."""
        for key, value, known in (
            ("sampler", self.sampler, SAMPLERS), ("pruner", self.pruner, PRUNERS),
        ):  # fmt: skip
            if value not in known:
                raise ConfigError(f"hydra.sweeper.{key}={value} is not one of {', '.join(known)}.")
        for key, number in (("n_trials", self.n_trials), ("batch_size", self.batch_size)):
            if not 1 <= number <= _MOST:
                raise ConfigError(f"hydra.sweeper.{key}={number} must be from 1 to {_MOST:,}.")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise ConfigError(f"hydra.sweeper.seed={self.seed} must be from 0 to {_LARGEST_SEED}.")
