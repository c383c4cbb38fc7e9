"""Fields of rows that others wrote: of the right type, or one line with file and row."""

import json
from collections.abc import Mapping
from typing import Any

from anima_exp.errors import DataError

_MOST_LETTERS = 60  # of a value in an error


def field(fields: Mapping[str, Any], key: str, at: str) -> Any:
    """Raises DataError: the row has no such field, or null in it."""
    if fields.get(key) is None:
        raise DataError(
            f"{at}: the field {key} is missing. The row has {', '.join(fields) or 'no fields'}."
        )
    return fields[key]


def name(fields: Mapping[str, Any], key: str, at: str) -> str:
    """Raises DataError: the field is missing, no text or empty."""
    value = field(fields, key, at)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{at}: {key} is {shown(value)}; it must be a name.")
    return _whole(value)


def needed(fields: Mapping[str, Any], key: str, at: str) -> str:
    """As `identifier`, of a field that has to be there."""
    field(fields, key, at)
    found = identifier(fields, key, at)
    if found is None:
        raise DataError(f"{at}: {key} is empty; it must be a number or a text.")
    return found


def identifier(fields: Mapping[str, Any], key: str, at: str) -> str | None:
    """A whole number or a text, as text; None if there is none.

    Raises:
        DataError: it is something else.
    """
    value = fields.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"{at}: {key} is {shown(value)}; it must be a number or a text.")
    return _whole(str(value))


def text_of(fields: Mapping[str, Any], key: str, at: str) -> str | None:
    """Raises DataError: the field is there and is no text."""
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{at}: {key} is {shown(value)}; it must be a text.")
    return value and _whole(value)


def count(fields: Mapping[str, Any], key: str, at: str) -> int | None:
    """Raises DataError: the field is there and is no whole number from 0 on."""
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DataError(
            f"{at}: {key} is {shown(value)}; it must be a number of characters (0 or more)."
        )
    return value


def shown(value: Any) -> str:
    """A value as JSON writes it, not too long."""
    text = json.dumps(value)
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."


def _whole(text: str) -> str:
    """Halves of characters, which JSON can hold and no file can, are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
