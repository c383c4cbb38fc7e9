"""Settings as a user reads and writes them: short names, values, conditions like lora.rank>=8."""

import json
import operator
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from anima_exp import json_text
from anima_exp.compare.runs import Run
from anima_exp.config import RunConfig
from anima_exp.config.catalogue import catalogue
from anima_exp.config.former_names import of_runs
from anima_exp.errors import ConfigError
from anima_exp.lookup import closest

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

    def holds(self, value: Any) -> bool:
        if self.sign in ("=", "!="):
            return bool(_OPERATORS[self.sign](comparable(value), comparable(self.value)))
        numbers = _is_number(value) and _is_number(self.value)
        texts = isinstance(value, str) and isinstance(self.value, str)
        return (numbers or texts) and bool(_OPERATORS[self.sign](value, self.value))


def condition(text: str, known: Collection[str], *, option: str) -> Condition:
    """`lora.rank>=8` -> a Condition.

    Raises:
        ConfigError: it is no condition, or names a setting that no run has.
    """
    found = _CONDITION.match(text)
    if not found:
        raise ConfigError(
            f"{option} '{text}' is no condition. Write SETTING=VALUE; also !=, <, <=, > and >=."
        )
    sign = "=" if found["sign"] == "==" else found["sign"]
    return Condition(full_name(found["key"], known, option=option), sign, parse(found["value"]))


def full_name(name: str, known: Collection[str], *, option: str) -> str:
    """`rank` or `lora.rank` -> `lora.rank`, where only one setting of the runs can be meant.

    A group stands for the setting that says which of its files was chosen: `lora`, `quant`.
    """
    name = of_runs().key(name)
    if name in known:
        return name
    for last in _CHOICES:
        if f"{name}.{last}" in known:
            return f"{name}.{last}"
    meant = [key for key in known if name in (short(key), key.rpartition(".")[2])]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise ConfigError(f"{option} {name} may be {' or '.join(sorted(meant))}. Give one of them.")
    close = closest(name, known)
    hint = f"Did you mean '{close}'?" if close else "See settings.json of a run."
    raise ConfigError(f"{option}: no run has a setting '{name}'. {hint}")


def parse(text: str) -> Any:
    """`8` -> 8, `null` -> None, `tiny` -> "tiny"; as Hydra would read it."""
    words: dict[str, Any] = {"true": True, "false": False, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return json_text.parse(text)
    except ValueError:
        pass
    try:
        return float(text)  # 1e-4 is no JSON number in every spelling
    except ValueError:
        return text


def comparable(value: Any) -> Any:
    """Something that can be put into a set: 1 and 1.0 are one value, true and 1 are two."""
    if isinstance(value, bool):
        return str(value)
    return json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value


def in_order(values: Iterable[Any]) -> list[Any]:
    """Each value once: null, then numbers, then texts, as one would count them."""
    once = {comparable(value): value for value in values}
    return sorted(once.values(), key=order)


def order(value: Any) -> tuple[int, float, str]:
    if value is None:
        return 0, 0.0, ""
    return (1, float(value), "") if _is_number(value) else (2, 0.0, written(value))


def written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if value is None or isinstance(value, bool | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def short(key: str) -> str:
    """`lora.rank` -> `rank`; a setting may have a label of its own: `model.name` -> `model`.

    An eval keeps its whole name: `mmlu` is a score.
    """
    group, _, last = key.rpartition(".")
    if group == "evals":
        return key
    entry = catalogue(RunConfig).get(key)
    return entry.label if entry else last


def headings(keys: Collection[str]) -> dict[str, str]:
    """Each key's short name, or the whole key where two would look alike."""
    names = [short(key) for key in keys]
    return {key: short(key) if names.count(short(key)) == 1 else key for key in keys}


def known(runs: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(key for run in runs for key in run.settings))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
