"""Read JSON of any origin: whatever is wrong with it is a ValueError of one line.

Python's own reader raises RecursionError for a text nested some thousand levels deep, and for a
number of more than 4,300 digits it advises to raise a limit of the interpreter.
"""

import json
from pathlib import Path
from typing import Any


class _Twice(dict[str, Any]):
    """An object that names something twice; `name` says what."""

    name = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    marked = _Twice(found)
    marked.name = next(name for name in names if names.count(name) > 1)
    return marked


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def parse(text: str | bytes) -> Any:
    """Return the value of a JSON text; bytes must be UTF-8. `named_twice` looks into it.

    Raises:
        ValueError: it is no JSON (then a JSONDecodeError), or none that Python can hold.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise ValueError(f"not UTF-8: byte 0x{byte:02x} at position {error.start}") from error
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise ValueError("values that are nested too deeply") from error
    except ValueError as error:
        raise ValueError("a number of too many digits") from error


def read(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: see `parse`.
    """
    return parse(path.read_bytes())


def read_table(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. ValueError if it holds anything else."""
    found = read(path)
    if not isinstance(found, dict):
        raise ValueError(f"it holds {kind(found)} and no object")
    return found


def kind(value: Any) -> str:
    """Name the JSON type of a value in a few words."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


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
