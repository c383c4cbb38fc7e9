"""JSON objects that hold a name twice: Python keeps the last value, and says nothing."""

import json
from typing import Any

from anima_exp import json_text


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
    """Return the value of a JSON text as json_text.parse does, ready for `find`."""
    return json_text.parse(text, decode=_DECODER.decode)


def find(value: Any) -> str | None:
    """Return a name that an object inside `value` holds twice, or None."""
    waiting = [value]
    while waiting:  # no recursion: what json has read may be as deep as Python allows
        one = waiting.pop()
        if isinstance(one, _Twice):
            return one.name
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        waiting += [part for part in inner if isinstance(part, dict | list)]
    return None


def message(name: str) -> str:
    return f"the column '{name}' stands twice in it"
