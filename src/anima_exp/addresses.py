"""Addresses without the user and password that may stand in them."""

import re
from typing import Any

_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/?#]*@", re.IGNORECASE)


def without_password(text: str) -> str:
    """Return `text` with `https://user:password@host` shortened to `https://host`."""
    return _LOGIN.sub(r"\1", text) if "://" in text else text


def without_passwords(value: Any) -> Any:
    """Return a JSON value with `without_password` applied to each text in it."""
    if isinstance(value, str):
        return without_password(value)
    if isinstance(value, dict):
        return {without_passwords(key): without_passwords(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_passwords(inner) for inner in value]
    return value
