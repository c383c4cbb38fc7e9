"""Text that others wrote -> text that can be shown: control characters cannot steer a terminal."""

import io
import sys
import unicodedata
from contextlib import suppress


def visible(text: str) -> str:
    """Line ends and tabs stay; other control characters are spelled out."""
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter) != "Cc" else repr(letter)[1:-1]
        for letter in text
    )


def take_any_letter(encoding: str | None = None) -> None:
    """Let stdout and stderr write letters that their encoding lacks, as \\uXXXX.

    A terminal of Latin-1 would end a run by UnicodeEncodeError at its first Chinese answer.

    Args:
        encoding: of both from here on; None keeps the terminal's.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # what stands behind it has changed, from a file to a pipe
                stream.reconfigure(encoding=encoding, errors="backslashreplace")


def tell(text: str) -> None:
    """One line beside the output, whatever names from others' files are in it."""
    line = visible(text).replace("\n", " ")
    print(f"anima_exp: {line}", file=sys.stderr)
