"""The range of every number in a config: finite, and of a size that a machine can hold.

Limits of what makes sense (a rank above 0) are in `checks.py`. These keep a slip of the pen, as
`trainer.steps=100000000000000000000`, from ending in a MemoryError or an OverflowError.
"""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from anima_exp.errors import ConfigError

_LARGEST_INT = 2**31 - 1
_LARGEST_FLOAT = 1e12
_LARGEST_SEED = 2**32 - 1  # numpy's and transformers' limit
_LARGEST = {
    "lora.rank": 65_536,
    "lora.alpha": 1e6,
    "optimizer.learning_rate": 1e3,
    "trainer.steps": 10**9,
    "trainer.epochs": 1e6,
    "trainer.batch_size": 10**6,
    "trainer.gpus": 4096,
    "launcher.jobs": 10**4,
    "launcher.jobs_per_gpu": 1000,
    "launcher.gpus_per_job": 4096,
    "sweep.rungs": 20,
    "sweep.retries": 1000,
    "scale": 1e6,
}
MOST_ROWS_SEEN = 10**9  # by one run; their order is one list, 8 GB of it


def check_limits(config: Any) -> None:
    """Raise ConfigError for a number that is not finite, or larger than any use of it.

    Example: `optimizer.learning_rate=inf must be a finite number.`
    """
    for key, value in numbers(config):
        if not math.isfinite(value):
            raise ConfigError(f"{key}={value} must be a finite number.")
        if _is_seed(key):
            if not 0 <= value <= _LARGEST_SEED:
                raise ConfigError(f"{key}={value} must be from 0 to {_LARGEST_SEED}.")
            continue
        largest = _LARGEST.get(key, _LARGEST_INT if isinstance(value, int) else _LARGEST_FLOAT)
        if value > largest or value < -_LARGEST_FLOAT:
            raise ConfigError(f"{key}={value} must be at most {largest:,}.")


def check_rows_seen(rows: int, *, key: str) -> None:
    """Raise ConfigError if a run would see more rows than their order has room for."""
    if rows > MOST_ROWS_SEEN:
        raise ConfigError(
            f"{key}: the run would train on {rows:,} rows, every pass counted. It can train on "
            f"{MOST_ROWS_SEEN:,}."
        )


def numbers(config: Any, path: str = "") -> Iterator[tuple[str, int | float]]:
    """Every number of a config with its dotted key; those that are null are left out."""
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from numbers(value, f"{path}{field.name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}{field.name}", value


def _is_seed(key: str) -> bool:
    name = key.rpartition(".")[2]
    return name == "seed" or name.endswith("_seed")
