"""Hold the settings of the running program: their types, and their names in earlier versions."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from anima_exp.config import RunConfig
from anima_exp.config.catalogue import catalogue
from anima_exp.config.former_names import FormerNames, silent
from anima_exp.events import note

_schema: list[type] = [RunConfig]


def set_schema(schema: type) -> None:
    """Take suggestions, types and former names from the settings of `schema` from now on."""
    _schema[:] = [schema]


@contextmanager
def schema_lent(schema: type) -> Iterator[None]:
    """Let suggestions, types and former names inside be those of `schema`'s settings."""
    before = list(_schema)
    set_schema(schema)
    try:
        yield
    finally:
        _schema[:] = before


def schema() -> type:
    """Return the schema of the running program."""
    return _schema[0]


def settings(of: type | None = None) -> dict[str, Any]:
    """Return every dotted key of the program, or of another schema, with its type; also groups."""
    return {key: entry.hint for key, entry in catalogue(of or schema()).items()}


def former_names() -> FormerNames:
    """Return the earlier names of the program's settings; each is reported on stderr, once."""
    return _former_names(schema())


@cache
def _former_names(schema: type) -> FormerNames:
    return FormerNames(schema, note)


def todays_key(key: str) -> str:
    """Return what a setting of the program is called today, without a line about it."""
    return silent(schema()).key(key)


def todays_file(node: object, package: str) -> tuple[Any, str]:
    """Rename the settings of a YAML file to what they are called today.

    Args:
        node: the file's content.
        package: the group that the file's settings belong to; empty for all settings.

    Returns:
        The content and its package, which is empty if a setting has moved to another group.
    """
    names = former_names()
    if not names.any:
        return node, package
    content: Any = OmegaConf.to_container(node, resolve=False)
    if not isinstance(content, dict):
        return node, package
    defaults = content.pop("defaults", None)
    groups = package.split(".") if package else []
    whole: Any = content
    for group in reversed(groups):
        whole = {group: whole}
    whole = names.tree(whole)
    inner = whole
    for group in groups:
        if list(inner) != [group]:
            inner, package = whole, ""
            break
        inner = inner[group]
    if isinstance(defaults, list):
        here = "/".join(groups)
        inner = {"defaults": [_default(one, names, here) for one in defaults], **inner}
    elif defaults is not None:
        inner = {"defaults": defaults, **inner}  # a mistake, which Hydra finds
    return OmegaConf.create(inner), package


def _default(entry: object, names: FormerNames, here: str) -> Any:
    """Translate an entry: `{"override /old": "name"}` becomes `{"override /new": "name"}`.

    Args:
        here: the group of the file, which `- name` chooses from.
    """
    if isinstance(entry, str):
        group, slash, choice = entry.rpartition("/")
        today = names.value(group.lstrip("/") or here, choice)
        return f"{group}{slash}{today}"
    if not isinstance(entry, Mapping):
        return entry
    result = {}
    for key, value in entry.items():
        *before, group = str(key).rpartition(" ")
        slash, today = "/" * group.startswith("/"), names.key(group.lstrip("/"))
        result["".join([*before, slash, today])] = names.value(today, value)
    return result
