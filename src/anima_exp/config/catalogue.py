"""List every setting of a schema by its dotted key, with its type and description."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, get_args, get_type_hints

from anima_exp.config.setting import FIRST_VERSION, Setting, described
from anima_exp.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """One setting, or a group of settings, at its place in a schema."""

    key: str  # `lora.rank`
    hint: Any  # its type annotation: `int | None`
    default: Any  # of the dataclass; the YAML files of conf/ may say otherwise
    setting: Setting
    in_name: bool  # False if a group around it is not in the name either
    first_key: str  # the key that it was born with, which the hash of a name goes by

    @property
    def group(self) -> type[Any] | None:
        """Return the dataclass of a group; None for a setting that is a value."""
        return next(groups_in(self.hint), None)

    @property
    def later(self) -> bool:
        """Return whether it was added after the first version."""
        return self.setting.since != FIRST_VERSION

    @property
    def optional(self) -> bool:
        """Return whether it may be null."""
        return NoneType in get_args(self.hint)

    @property
    def choices(self) -> list[str] | None:
        """Return the values of an enumeration, or of a list of them; None for anything else."""
        for kind in kinds(self.hint):
            if isinstance(kind, type) and issubclass(kind, Enum):
                return [str(member.value) for member in kind]
        return None

    @property
    def label(self) -> str:
        """Return the heading of its column in a table."""
        return self.setting.label or self.key.rpartition(".")[2]


def kinds(hint: object) -> list[Any]:
    """Return the types of a hint without None: `int | None` gives [int]."""
    return [kind for kind in (get_args(hint) or (hint,)) if kind is not NoneType]


def groups_in(hint: object) -> Iterator[type[Any]]:
    """Yield the dataclasses that a type annotation names."""
    yield from (kind for kind in kinds(hint) if isinstance(kind, type) and is_dataclass(kind))


@cache
def catalogue(schema: type) -> Mapping[str, Entry]:
    """Return every setting and group of a schema by its key, in the order of its fields."""
    return {entry.key: entry for entry in _entries(schema)}


def _entries(schema: type, inside: Entry | None = None) -> Iterator[Entry]:
    hints = get_type_hints(schema)
    path, first_path = (f"{inside.key}.", f"{inside.first_key}.") if inside else ("", "")
    for field in fields(schema):
        setting = described(field)
        name = setting.formerly[0] if setting.formerly else field.name
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        entry = Entry(
            f"{path}{field.name}",
            hints[field.name],
            default,
            setting,
            setting.in_name and (inside is None or inside.in_name),
            _placed(name, first_path),
        )
        yield entry
        if entry.group is not None:
            yield from _entries(entry.group, entry)


def _placed(name: str, path: str) -> str:
    """Return the whole key of a former name, which setting.py gives as `steps` or `.seed`."""
    return name.lstrip(".") if "." in name else f"{path}{name}"


@cache
def former_keys(schema: type) -> Mapping[str, str]:
    """Return every earlier key of the schema's settings and groups -> today's key."""
    result: dict[str, str] = {}

    def walk(inner: type, paths: list[str], today: str) -> None:
        for field in fields(inner):
            setting = described(field)
            names = [field.name, *setting.formerly, *setting.formerly_not]
            keys = list(dict.fromkeys(_placed(name, path) for path in paths for name in names))
            now = f"{today}{field.name}"
            result.update({key: now for key in keys if key != now})
            hint = get_type_hints(inner)[field.name]
            for kind in groups_in(hint):
                walk(kind, [f"{key}." for key in keys], f"{now}.")

    walk(schema, [""], "")
    return {old: new for old, new in result.items() if old not in catalogue(schema)}


@cache
def opposite_keys(schema: type) -> frozenset[str]:
    """Return the earlier keys that meant the opposite of today's setting."""
    return frozenset(
        _placed(name, f"{entry.key.rpartition('.')[0]}.".lstrip("."))
        for entry in catalogue(schema).values()
        for name in entry.setting.formerly_not
    )


# The largest numbers that a setting accepts. A typing error such as
# `trainer.max_steps=100000000000000000000` ends here, not in a MemoryError or an OverflowError.
_LARGEST_INT = 2**31 - 1
_LARGEST_FLOAT = 1e12
MOST_ROWS_SEEN = 10**9  # by one run; their order is one list, 8 GB of it
_UNKNOWN = Setting("A number in a table of the user's own.")


def check_limits(config: object, *, inside: str = "") -> None:
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
            f"{key} would train on {rows:,} rows, counting every epoch. A run can train on at most "
            f"{MOST_ROWS_SEEN:,}. Lower it."
        )


def numbers(config: Any, path: str = "") -> Iterator[tuple[str, int | float]]:
    """Yield every number of a config with its dotted key, also from a user's tables and lists."""
    for field in fields(config):
        yield from _numbers_in(getattr(config, field.name), f"{path}{field.name}")


def _numbers_in(value: object, key: str) -> Iterator[tuple[str, int | float]]:
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
