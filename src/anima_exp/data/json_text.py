"""JSON of strangers: an object that names something twice, and what Python does not read."""

import json
from typing import Any


class _Twice(dict[str, Any]):
    """An object that names something twice; `name` says what."""

    name = ""


def _made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    marked = _Twice(found)
    marked.name = next(name for name in names if names.count(name) > 1)
    return marked


_DECODER = json.JSONDecoder(object_pairs_hook=_made)


def parse(text: str) -> Any:
    """The value of a JSON text; `named_twice` tells of objects in it that hold a name twice.

    Raises:
        json.JSONDecodeError: it is no JSON.
        ValueError, RecursionError: it is, but Python does not read it (see `beyond`).
    """
    return _DECODER.decode(text)


def named_twice(value: Any) -> str | None:
    """The name that stands twice in an object inside `value`, or None."""
    waiting = [value]
    while waiting:  # no recursion: what json has read may be as deep as Python allows
        one = waiting.pop()
        if isinstance(one, _Twice):
            return one.name
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        waiting += [part for part in inner if isinstance(part, dict | list)]
    return None


def twice(name: str) -> str:
    return f"the column '{name}' stands twice in it"


def beyond(error: Exception) -> str:
    # What Python says of it is no advice: raise its limit.
    if isinstance(error, RecursionError):
        return "lists or objects nested too deep"
    return "a number of too many digits"
