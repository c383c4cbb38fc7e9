"""Settings under the names of earlier versions -> under today's.

A renamed setting keeps its earlier names in its description (config/setting.py). All settings that
a user or an earlier version wrote pass through here: the command line, YAML files, sweeps, records.
Each old name is reported once.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from anima_exp.config.catalogue import Entry, catalogue, former_keys
from anima_exp.config.run import RunConfig
from anima_exp.errors import ConfigError

_NAMES = re.compile(r"[\w.]+")
_SWEPT = ("params", "factors")  # of hydra.sweeper: mappings from whole keys


class FormerNames:
    """The earlier names of one schema's settings.

    Args:
        schema: the dataclass of the settings.
        report: takes one line for each old name, once.
    """

    def __init__(self, schema: type, report: Callable[[str], None] = lambda _: None) -> None:
        self.known = catalogue(schema)
        self.former = former_keys(schema)
        # Whether there are any; most files then need no second look.
        self.any = bool(self.former) or any(e.setting.former_values for e in self.known.values())
        self._report = report
        self._reported: set[str] = set()

    def key(self, old: str) -> str:
        """Return today's key of a setting or group; one that was never renamed is its own."""
        if old in self.known:
            return old
        new = self.former.get(old) or self._in_renamed_group(old)
        if new != old:
            self._say_once(f"{old} is called {new} now.")
        return new

    def _in_renamed_group(self, key: str) -> str:
        group, _, last = key.rpartition(".")
        while group:
            if group in self.former:
                return f"{self.former[group]}.{last}"
            group, _, more = group.rpartition(".")
            last = f"{more}.{last}"
        return key

    def value(self, key: str, old: Any) -> Any:
        """Return today's name of a value of the setting `key`."""
        entry = self.known.get(key)
        renamed = entry.setting.former_values if entry else None
        if not renamed or not isinstance(old, str) or old not in renamed:
            return old
        self._say_once(f"{key}={old} is called {key}={renamed[old]} now.")
        return renamed[old]

    def override(self, text: str) -> str:
        """`old.name=5` -> `new.name=5`, also behind `+`, `++` and `~`."""
        found = re.match(r"^(?P<sign>[+~]{0,2})(?P<key>[\w./]+)(?P<rest>=.*)?$", text, re.DOTALL)
        if not found:
            return text
        swept = re.match(r"hydra\.sweeper\.(params|factors)\.", found["key"])
        before = swept[0] if swept else ""
        key, rest = self.key(found["key"].removeprefix(before)), found["rest"] or ""
        if rest.startswith("="):
            rest = f"={self._text(key, rest[1:])}"
        return f"{found['sign']}{before}{key}{rest}"

    def settings(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """Return the flattened settings of a record under today's names."""
        found = {}
        for old, value in flat.items():
            key = self.key(old)
            found[key] = self.value(key, value)
        return found

    def tree(self, node: Any) -> Any:
        """Return a YAML tree of settings, whose root is the root of all settings.

        Raises:
            ConfigError: it sets one setting under two names.
        """
        moved: list[tuple[str, Any]] = []
        kept = self._walk(node, "", moved)
        for key, value in moved:
            _put(kept, key, value)
        return kept

    def _walk(self, node: Any, path: str, moved: list[tuple[str, Any]]) -> Any:
        if not isinstance(node, dict):
            return self._inner(self.value(path, node))
        kept: dict[Any, Any] = {}
        for name, value in node.items():
            old = f"{path}.{name}" if path else str(name)
            new = self.key(old)
            if old == "hydra":
                kept[name] = self._hydra(value)
            elif new != old:
                moved.append((new, self._walk(value, new, moved)))
            else:
                kept[name] = self._walk(value, old, moved)
        return kept

    def _hydra(self, node: Any) -> Any:
        """The grid of a sweep's file: whole keys, in `params`, `rows` and `factors`."""
        sweeper = node.get("sweeper") if isinstance(node, dict) else None
        if not isinstance(sweeper, dict):
            return node
        swept: dict[str, Any] = {}
        for name, value in sweeper.items():
            if name in _SWEPT and isinstance(value, dict):
                value = self._keys(value)
            elif name == "rows" and isinstance(value, list):
                value = [self._keys(row) if isinstance(row, dict) else row for row in value]
            elif name == "about" and isinstance(value, str):
                value = self.key(value)
            swept[name] = value
        return {**node, "sweeper": swept}

    def _keys(self, node: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for old, value in node.items():
            key = self.key(str(old))
            if key in found:
                raise ConfigError(f"{key} is set twice: {old} is its former name. Keep one.")
            found[key] = self._text(key, value) if isinstance(value, str) else value
        return found

    def _text(self, key: str, value: str) -> str:
        """The values of a sweep, `a,b`, and references in them."""
        entry = self.known.get(key)
        if entry and entry.setting.former_values:
            value = _NAMES.sub(lambda one: str(self.value(key, one[0])), value)
        return str(self._inner(value))

    def _inner(self, value: Any) -> Any:
        """Rename inside `${...}`."""
        if not isinstance(value, str) or "${" not in value:
            return value
        return re.sub(
            r"\$\{[^{}]*\}", lambda one: _NAMES.sub(lambda name: self.key(name[0]), one[0]), value
        )

    def _say_once(self, line: str) -> None:
        if line not in self._reported:
            self._reported.add(line)
            self._report(line)


def _put(node: dict[Any, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for name in groups:
        inner = node.get(name)
        if inner is None:
            inner = node[name] = {}
        if not isinstance(inner, dict):
            raise ConfigError(
                f"{key}: {name} is {inner!r} here, which has no settings of its own. Set {key} in "
                "another file or on the command line."
            )
        node = inner
    if last in node and not (isinstance(node[last], dict) and isinstance(value, dict)):
        raise ConfigError(f"{key} is set twice, once under a former name. Keep one.")
    if last in node:
        for name, inner in value.items():
            _put(node[last], name, inner)
    else:
        node[last] = value


def todays(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run's record under today's names, without a line about it."""
    names = of_runs()
    return names.settings(flat) if names.any else dict(flat)


def of_runs() -> FormerNames:
    """Return the earlier names of a run's settings, which reports nothing."""
    return _silent(RunConfig)


@cache
def _silent(schema: type) -> FormerNames:
    return FormerNames(schema)


def whole(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a whole record under today's names, with those that came later.

    A setting that is younger than the record has its value "as before", if it says which.
    """
    found = todays(flat)
    for key, entry in _younger(RunConfig).items():
        off = any(found.get(above, key) is None for above in _groups_above(key))
        if key not in found and not off and not any(one.startswith(f"{key}.") for one in found):
            found[key] = entry.setting.as_before
    return found


@cache
def _younger(schema: type) -> Mapping[str, Entry]:
    """Return the settings after the first version whose value "as before" is known."""
    return {
        key: entry
        for key, entry in catalogue(schema).items()
        if entry.later
        and (entry.optional or (entry.group is None and entry.setting.as_before is not None))
    }


def _groups_above(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]
