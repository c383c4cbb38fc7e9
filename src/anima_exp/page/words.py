"""What users and models wrote -> text that is safe to put into the page."""

import html
import json
from typing import Any

from anima_exp.terminal import visible


def shown(text: Any) -> str:
    """Control characters, and halves of characters that no file can hold, spelled out."""
    return visible(str(text).encode("utf-8", "backslashreplace").decode("utf-8"))


def escaped(text: Any) -> str:
    """For the inside of an element or of a quoted attribute."""
    return html.escape(shown(text))


def embedded(value: Any) -> str:
    """JSON for the inside of a <script>, which nothing in it can close."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def count(number: int, noun: str) -> str:
    """`1 run`, `90 runs`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}… ({len(text):,} characters)"
