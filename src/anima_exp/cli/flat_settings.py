"""Read a command line without Hydra: words and `key=value` become the command's dataclass.

    parse(["runs/a", "runs/b", "metric=mmlu"], CompareConfig, words="runs")
    # CompareConfig(runs=["runs/a", "runs/b"], metric="mmlu")

The grammar is that of all commands: `key=value`, lists as `[a,b]`, `null` for no value. A list
takes its key several times as well. The options of earlier versions, `--metric mmlu`, still work.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import fields
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from anima_exp.config.catalogue import Entry, catalogue, check_limits, former_keys, kinds
from anima_exp.config.former_names import FormerNames
from anima_exp.config.lookup import closest
from anima_exp.errors import ConfigError
from anima_exp.events import note

T = TypeVar("T")

_SETTING = re.compile(r"^(?P<key>[A-Za-z_][\w.]*)=(?P<value>.*)$", re.DOTALL)
_NAMES = {int: "a whole number", float: "a number", bool: "true or false"}
_WORDS = {"true": True, "false": False}


def parse(
    arguments: Sequence[str],
    schema: type[T],
    *,
    words: str = "",
    taking_several: Collection[str] = (),
) -> T:
    """Return the settings that a command line gives.

    Args:
        schema: a dataclass whose fields are declared with `setting(...)`.
        words: the list setting that words without `=` belong to; empty if there is none.
        taking_several: former options that took all words up to the next option.

    Raises:
        ConfigError: if a setting is unknown or missing, or a value is not of its type or range.
    """
    given: dict[str, Any] = {}
    reader = _Reader(schema)
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word.startswith("--") and word != "--":
            for value in reader.option_values(word, rest, taking_several):
                reader.add(given, *value)
        elif (match := _SETTING.match(word)) and not reader.is_path(match["key"], word):
            reader.add(given, match["key"], match["value"])
        elif words and word != "--":
            reader.add(given, words, word, whole=True)
        elif word != "--":
            raise ConfigError(f"'{word}' is neither an option nor a setting. Write key=value.")
    made = schema(**given)
    for one in fields(schema):  # type: ignore[arg-type]
        if getattr(made, one.name) == "???":
            raise ConfigError(f"{one.name} has no value. Give it with {one.name}=...")
    check_limits(made)
    return made


class _Reader:
    def __init__(self, schema: type) -> None:
        self.known = catalogue(schema)
        self.former = former_keys(schema)
        self.hints = get_type_hints(schema)
        self.names = FormerNames(schema, note)
        self.schema = schema

    def is_path(self, key: str, word: str) -> bool:
        """Return whether `a=b` is a folder of that name rather than a setting."""
        return not (key in self.known or key in self.former) and Path(word).exists()

    def option_values(
        self, word: str, rest: list[str], taking_several: Collection[str]
    ) -> list[tuple[str, str]]:
        """Read options into keys and values: `--one-pass`, `--metric mmlu`, `--metric=mmlu`."""
        option, equals, value = word.partition("=")
        old = option.lstrip("-").replace("-", "_")
        key = old if old in self.known else self.former.get(old)
        if key is None:
            near = closest(old, [*self.known, *self.former])
            hint = f"Did you mean {near}=...?" if near else "Settings are written key=value."
            raise ConfigError(f"There is no option {option}. {hint}")
        if equals:
            return [(old, value)]
        if kinds(self.hints[key]) == [bool]:
            return [(old, "true")]
        if not rest:
            raise ConfigError(f"{option} needs a value. Write {key}=VALUE.")
        if old not in taking_several:
            return [(old, rest.pop(0))]
        result = []
        while rest and not rest[0].startswith("--"):
            result.append((old, rest.pop(0)))
        return result

    def add(self, given: dict[str, Any], old: str, text: str, *, whole: bool = False) -> None:
        """Put a value into `given`; `whole` takes the text to the letter."""
        key = self.names.key(old)
        if key not in self.known:
            raise ConfigError(self._unknown(old))
        text = str(self.names.value(key, text))
        entry = self.known[key]
        if self._is_list(key):
            items = [text] if whole else _items(text)
            values = [_value(entry, self.hints[key], item) for item in items]
            given[key] = [*given.get(key, []), *values]
        else:
            given[key] = _value(entry, self.hints[key], text)

    def _is_list(self, key: str) -> bool:
        hint = self.hints[key]
        return list in (get_origin(hint), *(get_origin(one) for one in get_args(hint)))

    def _unknown(self, key: str) -> str:
        near = closest(key, [*self.known, *self.former])
        if near:
            return f"There is no setting '{key}'. Did you mean '{self.former.get(near, near)}'?"
        return f"There is no setting '{key}'. Known: {', '.join(self.known)}."


def _value(entry: Entry, hint: object, text: str) -> Any:
    """Return a text as a value of the setting's type."""
    text = _unquoted(text)
    if text == "null":
        if NoneType in get_args(hint):
            return None
        raise _not(entry, text)
    (kind,) = kinds(hint)
    if kind is bool:
        if text.lower() not in _WORDS:
            raise _not(entry, text)
        return _WORDS[text.lower()]
    if kind is str:
        return text
    if isinstance(kind, type) and issubclass(kind, Enum):
        result = [member for member in kind if member.value == text]
        if not result:
            raise _not(entry, text)
        return result[0]
    try:
        return kind(text)
    except ValueError:
        raise _not(entry, text) from None


def _not(entry: Entry, text: str) -> ConfigError:
    optional = " (or null)" if entry.optional else ""
    if entry.choices:
        near = closest(text, entry.choices)
        hint = f" Did you mean {entry.key}={near}?" if near else ""
        return ConfigError(
            f"{entry.key}={text} is not one of {', '.join(entry.choices)}{optional}.{hint}"
        )
    return ConfigError(
        f"{entry.key}={text} is not {_NAMES.get(kinds(entry.hint)[0], 'a text')}{optional}."
    )


def _items(text: str) -> list[str]:
    """Split `[a,b]` into a, b; any other text is one item. `null` and `[]` are none."""
    text = text.strip()
    if text in ("null", "[]"):
        return []
    if not (text.startswith("[") and text.endswith("]")):
        return [_unquoted(text)]
    result, start, quote, depth = [], 0, "", 0
    inner = text[1:-1]
    for here, letter in enumerate(inner):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'" and not inner[start:here].strip():
            quote = letter
        elif letter in "[{(":
            depth += 1
        elif letter in "]})":
            depth -= 1
        elif letter == "," and depth == 0:
            result.append(inner[start:here])
            start = here + 1
    return [_unquoted(one) for one in [*result, inner[start:]]]


def _unquoted(text: str) -> str:
    text = text.strip()
    quoted = len(text) > 1 and text[0] in "\"'" and text[0] == text[-1]
    return text[1:-1] if quoted else text
