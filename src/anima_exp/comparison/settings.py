"""Parse and format settings: short names, values, and conditions like lora.rank>=8."""

import json
import operator
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from anima_exp.comparison.runs import Run
from anima_exp.config import RunConfig
from anima_exp.config.catalogue import catalogue
from anima_exp.config.former_names import of_runs
from anima_exp.config.lookup import closest
from anima_exp.errors import ConfigError
from anima_exp.results.identity import enters_name
from anima_exp.system import json_files

_OPERATORS = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_CHOICES = ("name", "type", "target_modules")
_CONDITION = re.compile(r"^\s*(?P<key>[\w.]+)\s*(?P<sign>!=|<=|>=|==?|<|>)\s*(?P<value>.*?)\s*$")


@dataclass(frozen=True)
class Condition:
    key: str
    sign: str
    value: Any

    def holds(self, value: object) -> bool:
        if self.sign in ("=", "!="):
            return bool(_OPERATORS[self.sign](hashable(value), hashable(self.value)))
        if isinstance(value, str) and isinstance(self.value, str):
            return bool(_OPERATORS[self.sign](value, self.value))
        if _is_number(value) and _is_number(self.value):
            return bool(_OPERATORS[self.sign](value, self.value))
        return False


def condition(text: str, known: Collection[str], *, option: str) -> Condition:
    """Parse a condition like `lora.rank>=8`.

    Raises:
        ConfigError: if the text is not a condition, or no run has the setting.
    """
    found = _CONDITION.match(text)
    if not found:
        raise ConfigError(
            f"{option}={text} is no condition. Write SETTING=VALUE; also !=, <, <=, > and >=."
        )
    sign = "=" if found["sign"] == "==" else found["sign"]
    return Condition(full_name(found["key"], known, option=option), sign, parse(found["value"]))


def full_name(name: str, known: Collection[str], *, option: str) -> str:
    """Return `lora.rank` for `rank` or `lora.rank`, if it is unambiguous among the runs.

    A group (`lora`, `quant`) means the setting that names its chosen file.
    """
    name = of_runs().key(name)
    if name in known:
        return name
    for last in _CHOICES:
        if f"{name}.{last}" in known:
            return f"{name}.{last}"
    former = of_runs().former.items()
    meant = [key for key in known if name in (short(key), key.rpartition(".")[2])] or [
        key for old, key in former if old.rpartition(".")[2] == name and key in known
    ]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise ConfigError(f"{option}={name} may be {' or '.join(sorted(meant))}. Give one of them.")
    close = closest(name, known)
    hint = f"Did you mean '{close}'?" if close else "See settings.json of a run."
    raise ConfigError(f"{option}: no run has a setting '{name}'. {hint}")


def parse(text: str) -> Any:
    """Parse a value as Hydra does: `8` is 8, `null` is None, `tiny` is "tiny"."""
    words: dict[str, Any] = {"true": True, "false": False, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return json_files.parse(text)
    except ValueError:
        pass
    try:
        return float(text)  # JSON does not allow every spelling of a float
    except ValueError:
        return text


def hashable(value: object) -> Any:
    """Return a hashable form of a value, in which 1 equals 1.0 and true differs from 1."""
    if isinstance(value, bool):
        return str(value)
    return json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value


def in_order(values: Iterable[Any]) -> list[Any]:
    """Return each value once, sorted: null, then numbers, then texts."""
    once = {hashable(value): value for value in values}
    return sorted(once.values(), key=order)


def order(value: object) -> tuple[int, float, str]:
    if value is None:
        return 0, 0.0, ""
    return (1, float(value), "") if _is_number(value) else (2, 0.0, format_value(value))


def format_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if value is None or isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def short(key: str) -> str:
    """Return `rank` for `lora.rank`, or the setting's label: `model` for `model.name`.

    An evaluation keeps its full name, because `mmlu` is a score.
    """
    group, _, last = key.rpartition(".")
    if group == "evals":
        return key
    entry = catalogue(RunConfig).get(key)
    return entry.label if entry else last


def headings(keys: Collection[str]) -> dict[str, str]:
    """Return each key's short name, or the full key if two short names are equal."""
    names = [short(key) for key in keys]
    return {key: short(key) if names.count(short(key)) == 1 else key for key in keys}


def known(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(key for run in runs for key in run.settings))


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


# The settings of runs in the form that their names hash, so that settings are equal exactly if the
# hash treats them as equal. The hash uses the contents of a file and not its path, ignores the
# adapter's settings in full fine-tuning, and includes an evaluation if it is on. settings.json has
# the settings in this form.


_ABSENT = object()
_TABLES = ("benchmarks", "custom")  # tables in evals of the user's evaluations, by name


def as_named(runs: Sequence[Run]) -> list[Run]:
    evals = _evals(runs)
    shown = _shown(runs)
    return [replace(run, settings=_settings(run, evals, shown)) for run in runs]


def _settings(run: Run, evals: Sequence[str], shown: dict[str, dict[Any, Any]]) -> dict[str, Any]:
    if not run.settings:
        return {}
    ignored = run.identity is not None
    found = {
        key: value
        for key, value in run.settings.items()
        if not (ignored and enters_name(key) and key not in run.identity)  # type: ignore[operator]
    }
    for key, texts in shown.items():
        if key in found:
            found[key] = texts.get(hashable(_counted(run, key)), found[key])
    on = _on(run)
    found |= {name: name in on for name in evals}
    return found


def _counted(run: Run, key: str) -> Any:
    """Return a setting in the form that the name hashes: a hash for the contents of a file."""
    value = run.settings.get(key, _ABSENT)
    return value if run.identity is None else run.identity.get(key, value)


def _shown(runs: Sequence[Run]) -> dict[str, dict[Any, Any]]:
    """Return the text to show for each content of the settings that are hashed by content.

    The same content in two places has one text. Two contents that were at the same place are
    distinguished by the start of their hashes.
    """
    keys = {
        key: None
        for run in runs
        for key, counted in (run.identity or {}).items()
        if run.settings.get(key, counted) != counted
    }
    found: dict[str, dict[Any, Any]] = {}
    for key in keys:
        texts: dict[Any, Any] = {}
        for run in runs:
            if key in run.settings and run.settings[key] != _counted(run, key):
                texts.setdefault(hashable(_counted(run, key)), run.settings[key])
        places = list(texts.values())
        found[key] = {
            counted: f"{text} ({_start(counted)})" if places.count(text) > 1 else text
            for counted, text in texts.items()
        }
    return found


def _start(counted: object) -> str:
    return str(counted).rpartition(":")[2][:8]


def _on(run: Run) -> set[str]:
    """Return the evaluations that are on for the run: `evals.mmlu`."""
    inside = (key.split(".") for key in run.settings if key.startswith("evals."))
    return {".".join(parts[: 3 if parts[1] in _TABLES else 2]) for parts in inside if parts[2:]}


def _evals(runs: Sequence[Run]) -> list[str]:
    """Return the evaluations that are on for some of the runs but not for all."""
    on = [_on(run) for run in runs if run.settings]
    some: set[str] = set().union(*on)
    return sorted(name for name in some if not all(name in one for one in on))
