"""Read JSON of any origin: whatever is wrong with it is a ValueError of one line.

Python's own reader raises RecursionError for a text nested some thousand levels deep, and for a
number of more than 4,300 digits it advises to raise a limit of the interpreter.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def parse(text: str | bytes, *, decode: Callable[[str], Any] = json.loads) -> Any:
    """Return the value of a JSON text; bytes must be UTF-8.

    Args:
        decode: a decoder's method, where objects are to be made in another way.

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
        return decode(text)
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
