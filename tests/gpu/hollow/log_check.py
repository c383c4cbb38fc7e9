"""What no log of a hollow run may hold: tracebacks, and warnings that a user would see."""

import re

# Each is a part of a line.
COMPLAINTS = (
    r"Traceback \(most recent call last\)",
    r"\w*(Warning|Error)\b: ",  # UserWarning: ..., RuntimeError: ...
    r"^(\[rank\d+\]:)?\[[WE]\d* ",  # torch's C++ side
    r"could not be imported",
    r"torch\._dynamo hit",
    r"core dumped|Segmentation fault",
)
_COMPLAINT = re.compile("|".join(f"(?:{one})" for one in COMPLAINTS))
LONGEST = 200


def complaint(log, allowed=()):
    """Return the first complaint in `log`, and how many other ones follow; empty without any.

    Args:
        allowed: texts of lines that the case cannot be without.
    """
    lines = [line for line in log.splitlines() if not any(text in line for text in allowed)]
    found = list(dict.fromkeys(_complaints(lines)))
    others = f" (and {len(found) - 1} others)" if len(found) > 1 else ""
    return f"{found[0]}{others}" if found else ""


def _complaints(lines):
    for number, line in enumerate(lines):
        if not _COMPLAINT.search(line):
            continue
        if line.startswith("Traceback"):  # the line of the error says what happened
            ends = (one for one in lines[number + 1 :] if one and not one[0].isspace())
            line = next(ends, line)
        yield line.strip()[:LONGEST]


def missing(log, texts):
    """Return a reason if one of `texts` is not in the log, else an empty text."""
    return next((f"its log does not say {text!r}" for text in texts if text not in log), "")
