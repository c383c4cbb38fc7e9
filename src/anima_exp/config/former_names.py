"""Translate settings from the names of earlier versions into today's.

A renamed setting keeps its earlier names in its description (config/setting.py). All settings that
a user or an earlier version wrote pass through here: the command line, YAML files, sweeps, records.
Each old name is reported once.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from anima_exp.config.catalogue import Entry, catalogue, former_keys, opposite_keys
from anima_exp.config.run import RunConfig
from anima_exp.config.tree import set_twice, set_value

_NAMES = re.compile(r"[\w.]+")
_OVERRIDE = re.compile(r"^(?P<sign>[+~]{0,2})(?P<key>[\w./]+)(?P<rest>=.*)?$", re.DOTALL)
_SWEEPER = {"rows": "points", "factors": "multipliers", "published": "reference_results"}
_SWEPT = re.compile(r"^hydra\.sweeper\.(params|multipliers)\.")
_TAKES_A_KEY = ("oc.select", "oc.dict.keys", "oc.dict.values")  # resolvers


class FormerNames:
    """The earlier names of one schema's settings.

    Args:
        schema: the dataclass of the settings.
        report: takes one line for each old name, once.
    """

    def __init__(self, schema: type, report: Callable[[str], None] = lambda _: None) -> None:
        self.known = catalogue(schema)
        self.former = former_keys(schema)
        self.opposite = opposite_keys(schema)
        # False if there are none: then a file needs no second look.
        self.any = bool(self.former) or any(e.setting.former_values for e in self.known.values())
        self._report = report
        self._reported: set[str] = set()

    def key(self, old: str) -> str:
        """Return today's key of a setting or group; one that was never renamed is its own."""
        if old in self.known:
            return old
        new = self.former.get(old) or self._in_renamed_group(old)
        if new != old and old not in self.opposite:
            self._say_once(f"{old} was renamed. Use {new}.")
        return new

    def _in_renamed_group(self, key: str) -> str:
        sweeper = re.match(r"^hydra\.sweeper\.(\w+)(?=\.|$)", key)
        if sweeper and (new := _SWEEPER.get(sweeper[1])):
            return f"hydra.sweeper.{new}{key[sweeper.end() :]}"
        group, _, last = key.rpartition(".")
        while group:
            if group in self.former:
                return f"{self.former[group]}.{last}"
            group, _, more = group.rpartition(".")
            last = f"{more}.{last}"
        return key

    def value(self, key: str, old: object) -> Any:
        """Return today's name of a value of the setting or group `key`."""
        entry = self.known.get(key)
        renamed = entry.setting.former_values if entry else None
        if not renamed or not isinstance(old, str) or old not in renamed:
            return old
        self._say_once(f"{key}={old} was renamed. Use {key}={renamed[old]}.")
        return renamed[old]

    def overrides(self, texts: Iterable[str]) -> list[str]:
        """Return a command line's settings under today's names.

        Raises:
            ConfigError: if it sets one setting under two names.
        """
        given: dict[str, str] = {}
        result = []
        for text in texts:
            new = self.override(text)
            old, key = (one.lstrip("+~").partition("=")[0] for one in (text, new))
            first = given.setdefault(key, old)
            if first != old:
                raise set_twice(key, old if first == key else first)
            result.append(new)
        return result

    def override(self, text: str) -> str:
        """Translate an override: `old.name=5` to `new.name=5`, also behind `+`, `++` and `~`."""
        match = _OVERRIDE.match(text)
        if not match:
            return text
        old, rest = match["key"], match["rest"] or ""
        whole = self.key(old) if old.startswith("hydra.sweeper.") else old
        swept = _SWEPT.match(whole)
        before = swept[0] if swept else ""
        key = f"{before}{self.key(whole.removeprefix(before))}"
        if rest.startswith("="):
            value = self._opposite(old, key, rest[1:])
            if key == "hydra.sweeper.about":
                value = self.key(value)
            elif key == "hydra.sweeper.points":
                value = re.sub(r"[\w.]+(?=\s*:)", lambda one: self.key(one[0]), value)
            rest = f"={self._text(key.removeprefix(before), value)}"
        return f"{match['sign']}{key}{rest}"

    def _opposite(self, old: str, key: str, value: str) -> str:
        """Turn a former yes into today's no."""
        turned = {"true": "false", "false": "true"}.get(value.strip().lower())
        if old not in self.opposite or turned is None:
            return value
        self._say_once(f"{old}={value} was renamed. Use {key}={turned}.")
        return turned

    def settings(self, flat: Mapping[str, Any]) -> dict[str, Any]:
        """Return the flattened settings of a record under today's names."""
        result = {}
        for old, value in flat.items():
            key = self.key(old)
            result[key] = self.value(key, value)
        return result

    def tree(self, node: object) -> Any:
        """Return a YAML tree of settings, whose root is the root of all settings.

        Raises:
            ConfigError: if it sets one setting under two names.
        """
        moved: list[tuple[str, str, Any]] = []
        kept = self._walk(node, "", moved)
        for old, key, value in moved:
            set_value(kept, old, key, value)
        return kept

    def _walk(self, node: object, path: str, moved: list[tuple[str, str, Any]]) -> Any:
        if isinstance(node, list):
            return self._references(node)
        if not isinstance(node, dict):
            return self._inner(self.value(path, node), path)
        kept: dict[Any, Any] = {}
        for name, value in node.items():
            old = f"{path}.{name}" if path else str(name)
            new = self.key(old)
            if old == "hydra":
                kept[name] = self._hydra(value)
            elif new != old:
                if isinstance(value, bool) and old in self.opposite:
                    value = self._opposite(old, new, str(value).lower()) == "true"
                moved.append((old, new, self._walk(value, new, moved)))
            else:
                kept[name] = self._walk(value, old, moved)
        return kept

    def _hydra(self, node: Any) -> Any:
        """Translate references in Hydra's own settings, and the grid of a sweep's file.

        A grid has whole keys, in `params`, `points` and `multipliers`.
        """
        node = self._references(node)
        sweeper = node.get("sweeper") if isinstance(node, dict) else None
        if not isinstance(sweeper, dict):
            return node
        swept: dict[str, Any] = {}
        for old, value in sweeper.items():
            name = self.key(f"hydra.sweeper.{old}").removeprefix("hydra.sweeper.")
            if name in swept or (name != old and name in sweeper):
                raise set_twice(f"hydra.sweeper.{name}", f"hydra.sweeper.{old}")
            swept[name] = self._swept(name, value)
        return {**node, "sweeper": swept}

    def _references(self, node: object) -> Any:
        if isinstance(node, dict):
            return {name: self._references(value) for name, value in node.items()}
        if isinstance(node, list):
            return [self._references(value) for value in node]
        return self._inner(node)

    def _swept(self, name: str, value: object) -> Any:
        if name in ("params", "multipliers") and isinstance(value, dict):
            return self._keys(value)
        if name == "points" and isinstance(value, list):
            return [self._keys(row) if isinstance(row, dict) else row for row in value]
        if name == "reference_results" and isinstance(value, dict):
            rows = value.get("rows")
            if isinstance(rows, list):
                rows = [self._keys(row) if isinstance(row, dict) else row for row in rows]
                return {**value, "rows": rows}
        if name == "about" and isinstance(value, str):
            return self.key(value)
        return value

    def _keys(self, node: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for old, value in node.items():
            key = self.key(str(old))
            if key in result:
                former = [str(one) for one in node if self.key(str(one)) == key and one != key]
                raise set_twice(key, former[0])
            result[key] = self._text(key, value) if isinstance(value, str) else value
        return result

    def _text(self, key: str, value: str) -> str:
        """Translate the values of a sweep, `a,b`, and references in them."""
        entry = self.known.get(key)
        if entry and entry.setting.former_values:
            value = _NAMES.sub(lambda one: str(self.value(key, one[0])), value)
        return str(self._inner(value))

    def _inner(self, value: object, path: str = "") -> Any:
        """Rename the keys inside `${...}`; `${oc.env:NAME}` holds none.

        Args:
            path: the key of the setting with this value, to which `${.name}` is relative.
        """
        if not isinstance(value, str) or "${" not in value:
            return value

        def reference(match: re.Match[str]) -> str:
            resolver, inside = match[1], match[2]
            if resolver is None or resolver in _TAKES_A_KEY:
                inside = _NAMES.sub(lambda name: self._referred(name[0], path), inside)
            return f"${{{resolver}:{inside}}}" if resolver else f"${{{inside}}}"

        return re.sub(r"\$\{(?:([\w.]+):)?([^{}:]*)\}", reference, value)

    def _referred(self, name: str, path: str) -> str:
        dots = len(name) - len(name.lstrip("."))
        if not dots:
            return self.key(name)
        absolute = ".".join([*path.split(".")[:-dots], name[dots:]])
        today = self.key(absolute)
        return name if today == absolute else today

    def _say_once(self, line: str) -> None:
        if line not in self._reported:
            self._reported.add(line)
            self._report(line)


def todays(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run's record under today's names, without a line about it."""
    names = of_runs()
    return names.settings(flat) if names.any else dict(flat)


def first_name(key: str) -> str:
    """Return the name that a setting of a run was born with; a group is its own."""
    entry = catalogue(RunConfig).get(key)
    return key if entry is None or entry.group else entry.first_key


def of_runs() -> FormerNames:
    """Return the earlier names of a run's settings, which reports nothing."""
    return silent(RunConfig)


@cache
def silent(schema: type) -> FormerNames:
    """Return the earlier names of a schema's settings, which reports nothing."""
    return FormerNames(schema)


def whole(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a whole record under today's names, with those that came later.

    A setting that is younger than the record has its value "as before", if it says which.
    """
    result = todays(flat)
    for key, entry in _younger(RunConfig).items():
        off = any(result.get(above, key) is None for above in _groups_above(key))
        if key not in result and not off and not any(one.startswith(f"{key}.") for one in result):
            result[key] = entry.setting.as_before
    return result


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
