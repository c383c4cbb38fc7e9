"""Text that others wrote -> text that can be shown: control characters cannot steer a terminal."""

import sys
import unicodedata


def visible(text: str) -> str:
    """Line ends and tabs stay; other control characters are spelled out."""
    return "".join(
        letter if letter in "\n\t" or unicodedata.category(letter) != "Cc" else repr(letter)[1:-1]
        for letter in text
    )


def tell(text: str) -> None:
    """One line beside the output, whatever names from others' files are in it."""
    line = visible(text).replace("\n", " ")
    print(f"anima_exp: {line}", file=sys.stderr)
