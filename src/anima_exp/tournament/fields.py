"""Read fields of foreign rows and check their types."""

import json
from collections.abc import Mapping
from typing import Any

from anima_exp.errors import DataError

_MOST_LETTERS = 60  # length of a value in an error


def field(fields: Mapping[str, Any], key: str, at: str) -> Any:
    """Return a field. Raise DataError if it is missing or null."""
    if fields.get(key) is None:
        raise DataError(
            f"{at}: the field {key} is missing. The row has {', '.join(fields) or 'no fields'}."
        )
    return fields[key]


def name(fields: Mapping[str, Any], key: str, at: str) -> str:
    """Return a name. Raise DataError if the field is missing, empty or not a text."""
    value = field(fields, key, at)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{at}: {key} is {shown(value)}; it must be a name.")
    return _whole(value)


def needed(fields: Mapping[str, Any], key: str, at: str) -> str:
    """Return an identifier as `identifier` does. Raise DataError if it is missing."""
    field(fields, key, at)
    found = identifier(fields, key, at)
    if found is None:
        raise DataError(f"{at}: {key} is empty; it must be a number or a text.")
    return found


def identifier(fields: Mapping[str, Any], key: str, at: str) -> str | None:
    """Return a whole number or a text as text; None if it is missing or empty.

    Raises:
        DataError: if it has another type.
    """
    value = fields.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"{at}: {key} is {shown(value)}; it must be a number or a text.")
    return _whole(str(value))


def text_of(fields: Mapping[str, Any], key: str, at: str) -> str | None:
    """Return a text, or None if it is missing. Raise DataError if it has another type."""
    value = fields.get(key)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{at}: {key} is {shown(value)}; it must be a text.")
    return value and _whole(value)


def count(fields: Mapping[str, Any], key: str, at: str) -> int | None:
    """Return a count, or None if it is missing. Raise DataError unless it is 0 or more."""
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DataError(
            f"{at}: {key} is {shown(value)}; it must be a number of characters (0 or more)."
        )
    return value


def shown(value: object) -> str:
    """Return a value as JSON, truncated if it is long."""
    text = json.dumps(value)
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}..."


def _whole(text: str) -> str:
    """Escape lone surrogates, which JSON can hold but UTF-8 files cannot."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
