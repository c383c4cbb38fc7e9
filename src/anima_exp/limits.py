"""The range of every number in a config, as the description of its setting says.

A slip of the pen, as `trainer.steps=100000000000000000000`, ends here and not in a MemoryError or
an OverflowError.
"""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from anima_exp.config.catalogue import catalogue
from anima_exp.config.setting import Setting
from anima_exp.errors import ConfigError

_LARGEST_INT = 2**31 - 1
_LARGEST_FLOAT = 1e12
MOST_ROWS_SEEN = 10**9  # by one run; their order is one list, 8 GB of it
_UNKNOWN = Setting("A number in a table of the user's own.")


def check_limits(config: Any, *, inside: str = "") -> None:
    """Raise ConfigError for a number that is not finite, or outside the range of its setting.

    Example: `optimizer.learning_rate=inf must be a finite number.`

    Args:
        inside: the group that the config is, with its dot, for the message.
    """
    schema: type = type(config)
    known = catalogue(schema)
    for key, value in numbers(config):
        setting = known[key].setting if key in known else _UNKNOWN
        key = f"{inside}{key}"
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(f"{key}={value} must be a finite number.")
        if not setting.allows(value):
            raise ConfigError(f"{key}={value} {setting.range_text()}.")
        largest = setting.largest or (_LARGEST_INT if isinstance(value, int) else _LARGEST_FLOAT)
        if setting.at_most is None and (value > largest or value < -_LARGEST_FLOAT):
            raise ConfigError(f"{key}={value} must be at most {largest:,}.")


def check_rows_seen(rows: int, *, key: str) -> None:
    """Raise ConfigError if a run would see more rows than their order has room for."""
    if rows > MOST_ROWS_SEEN:
        raise ConfigError(
            f"{key}: the run would train on {rows:,} rows, every pass counted. It can train on "
            f"{MOST_ROWS_SEEN:,}."
        )


def numbers(config: Any, path: str = "") -> Iterator[tuple[str, int | float]]:
    """Every number of a config with its dotted key, also in tables and lists of the user's own."""
    for field in fields(config):
        yield from _numbers_in(getattr(config, field.name), f"{path}{field.name}")


def _numbers_in(value: Any, key: str) -> Iterator[tuple[str, int | float]]:
    if is_dataclass(value):
        yield from numbers(value, f"{key}.")
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers_in(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _numbers_in(inner, f"{key}[{number}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield key, value
