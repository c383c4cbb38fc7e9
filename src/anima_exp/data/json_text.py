"""JSON of strangers: an object that names something twice, and what Python does not read."""

import json
from typing import Any


class _Twice(dict[str, Any]):
    """An object that names something twice; `name` says what."""

    name = ""


def parse(text: str, names_twice: list[str]) -> Any:
    """The value of a JSON text; the names that an object holds twice are added to `names_twice`."""

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        names = [name for name, _ in pairs]
        marked = _Twice(found)
        marked.name = next(name for name in names if names.count(name) > 1)
        names_twice.append(marked.name)
        return marked

    return json.loads(text, object_pairs_hook=made)


def named_twice(value: Any) -> str | None:
    if isinstance(value, _Twice):
        return value.name
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((name for one in inner if (name := named_twice(one)) is not None), None)


def twice(name: str) -> str:
    return f"the column '{name}' stands twice in it"


def beyond(error: Exception) -> str:
    # What Python says of it is no advice: raise its limit.
    if isinstance(error, RecursionError):
        return "lists or objects nested too deep"
    return "a number of too many digits"
