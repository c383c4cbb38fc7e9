"""A schema's dataclasses -> every setting by its dotted key, with its type and description."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, get_args, get_type_hints

from anima_exp.config.setting import FIRST_VERSION, Setting, described


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
        """Return the values of an enumeration; None for anything else."""
        for kind in kinds(self.hint):
            if isinstance(kind, type) and issubclass(kind, Enum):
                return [str(member.value) for member in kind]
        return None

    @property
    def label(self) -> str:
        """Return the heading of its column in a table."""
        return self.setting.label or self.key.rpartition(".")[2]


def kinds(hint: Any) -> list[Any]:
    """`int | None` -> [int]"""
    return [kind for kind in (get_args(hint) or (hint,)) if kind is not NoneType]


def groups_in(hint: Any) -> Iterator[type[Any]]:
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
    """A former name -> its whole key: `steps`, `trainer.steps` and `.seed` as in setting.py."""
    return name.lstrip(".") if "." in name else f"{path}{name}"


@cache
def former_keys(schema: type) -> Mapping[str, str]:
    """Return every earlier key of the schema's settings and groups -> today's key."""
    found: dict[str, str] = {}

    def walk(inner: type, paths: list[str], today: str) -> None:
        for field in fields(inner):
            names = [field.name, *described(field).formerly]
            keys = list(dict.fromkeys(_placed(name, path) for path in paths for name in names))
            now = f"{today}{field.name}"
            found.update({key: now for key in keys if key != now})
            hint = get_type_hints(inner)[field.name]
            for kind in groups_in(hint):
                walk(kind, [f"{key}." for key in keys], f"{now}.")

    walk(schema, [""], "")
    return {old: new for old, new in found.items() if old not in catalogue(schema)}
