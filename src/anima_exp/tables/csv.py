"""Text that others wrote -> a CSV cell that no spreadsheet takes for a formula."""

from typing import Any

from anima_exp.terminal import visible

_BEGIN_A_FORMULA = ("=", "+", "-", "@", "\t", "\n", "＝", "＋", "－", "＠")


def harmless(value: Any) -> Any:
    """Return numbers as they are, and text with an apostrophe in front of what begins a formula.

    Control characters are spelled out: a bare carriage return ends a row in some readers.
    """
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(_BEGIN_A_FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
