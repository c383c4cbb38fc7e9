"""Expand a sweep's params, points and multipliers into the overrides of every cell."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

from anima_exp.cli.overrides import quote_override
from anima_exp.errors import ConfigError
from anima_exp.libraries.hydra_internals import Override, OverridesParser, RangeSweep

MOST_VALUES = 100_000  # per setting, and cells per grid: composing so many takes minutes


@dataclass(frozen=True)
class Point:
    """One cell of a grid before it is composed."""

    overrides: tuple[str, ...]  # `lora.rank=8`
    multipliers: tuple[
        tuple[str, float], ...
    ] = ()  # (`trainer.max_steps`, 2.0): twice its own value


def expand(
    parser: OverridesParser,
    arguments: Sequence[str],
    *,
    params: Mapping[str, Any] | None = None,
    points: Sequence[Mapping[str, Any]] | None = None,
    multipliers: Mapping[str, Any] | None = None,
) -> list[Point]:
    """Every row with every combination of params, arguments and multipliers.

    What the command line sets replaces the same key in the sweep's file, be it in params, points
    or multipliers: `-m sweep=lora_search model=tiny` keeps the grid and changes the model.

    Raises:
        ConfigError: if a value cannot be listed, as interval(1, 2); or a row sets what params set.
    """
    given = _choices(parser, list(arguments))
    params = {k: v for k, v in (params or {}).items() if k not in given}
    swept = _choices(parser, [_param(k, v) for k, v in params.items()])
    paired = [_row(row, given) for row in points or []]
    _refuse_twice(paired, swept)
    multiples = {k: _numbers(k, v) for k, v in (multipliers or {}).items() if k not in given}
    values = [*swept.values(), *given.values()]
    count = len(paired or [()]) * prod(map(len, values)) * prod(map(len, multiples.values()))
    if count > MOST_VALUES:
        raise ConfigError(
            f"The sweep has {count:,} runs, but the limit is {MOST_VALUES:,}. Give its settings "
            "fewer values, or search them with hydra/sweeper=optuna."
        )
    return [
        Point((*row, *overrides), tuple(zip(multiples, chosen, strict=True)))
        for row in dict.fromkeys(paired or [()])  # points that the command line made equal are one
        for overrides in itertools.product(*(swept | given).values())
        for chosen in itertools.product(*multiples.values())
    ]


def _choices(parser: OverridesParser, overrides: list[str]) -> dict[str, list[str]]:
    """Return {"lora.rank": ["lora.rank=8", "lora.rank=64"]} for `lora.rank=8,64`; the last wins."""
    return {o.get_key_element(): _values(o) for o in parser.parse_overrides(overrides)}


def _values(override: Override) -> list[str]:
    key = override.get_key_element()
    if not override.is_sweep_override():
        if override.is_delete():
            return [f"{override.input_line}"]
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"{override.input_line}: a grid needs a list of values, not an interval. List them, "
            f"as in {key}=1e-4,2e-4, or search the interval with hydra/sweeper=optuna."
        )
    check_range(override)
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def check_range(override: Override) -> None:
    """Raise ConfigError if a range has too many values, before they are listed."""
    value, line = override.value(), override.input_line
    if not isinstance(value, RangeSweep):
        return
    start, stop, step = value.start or 0, value.stop or 0, value.step
    if not all(map(isfinite, (start, stop, step))) or step == 0:
        raise ConfigError(
            f"{line}: a range needs finite numbers and a step other than 0, as in range(0, 10, 2)."
        )
    count = int(-((start - stop) // step))
    if count > MOST_VALUES:
        raise ConfigError(
            f"{line}: the range has {count:,} values, but the limit is {MOST_VALUES:,}. "
            "Give a shorter range or a larger step."
        )


def _param(key: str, value: object) -> str:
    return quote_override(f"{key}={as_text(value)}")


def _row(row: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, ...]:
    if not isinstance(row, Mapping):
        raise ConfigError(
            f"hydra.sweeper.points: {row} is not a point, such as {{lora.rank: 8, seed: 1}}."
        )
    texts = (f"{key}={as_text(value)}" for key, value in row.items() if key not in given)
    return tuple(quote_override(text, several=False) for text in texts)


def _refuse_twice(rows: Sequence[Sequence[str]], swept: Mapping[str, Any]) -> None:
    for override in itertools.chain.from_iterable(rows):
        key = override.partition("=")[0]
        if key in swept:
            raise ConfigError(f"{key} is in the points of the sweep and in its params; keep one.")


def _numbers(key: str, multipliers: object) -> list[float]:
    texts = multipliers if isinstance(multipliers, list) else str(multipliers).split(",")
    try:
        numbers = [float(text) for text in texts]
    except ValueError as error:
        raise ConfigError(
            f"multipliers of {key}: {multipliers} are not numbers, as in 0.5,1,2."
        ) from error
    if not all(map(isfinite, numbers)):
        raise ConfigError(f"multipliers of {key}: {multipliers} must be finite numbers.")
    if not numbers or min(numbers) <= 0:
        raise ConfigError(f"multipliers of {key}: {multipliers} must be greater than 0.")
    return numbers


def as_text(value: object) -> str:
    """Write a YAML value in the grammar of Hydra's command line."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(as_text, value))}]"
    return str(value)
