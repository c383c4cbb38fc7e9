"""Compare two answers."""

import re


def answers_match(answer: str, reference: str, pattern: str | None = None) -> bool:
    """Return whether the answers are equal except for white space and one final full stop.

    Args:
        pattern: a regular expression. Only the last group of its last match is compared, without
            commas between digits. A text without a match equals none.
    """
    if pattern is None:
        return _plain(answer) == _plain(reference)
    given, wanted = final_answer(answer, pattern), final_answer(reference, pattern)
    return given is not None and wanted is not None and _number(given) == _number(wanted)


def final_answer(text: str, pattern: str) -> str | None:
    """Return the last group of the last match of `pattern`; None if nothing matches."""
    matches = [*re.finditer(pattern, text)]
    groups = [group for group in matches[-1].groups() if group is not None] if matches else []
    return groups[-1] if groups else None


def _number(text: str) -> str:
    return re.sub(r"(?<=\d),(?=\d)", "", _plain(text))


def _plain(text: str) -> str:
    text = " ".join(text.split())
    return text[:-1].rstrip() if text.endswith((".", "。")) else text
