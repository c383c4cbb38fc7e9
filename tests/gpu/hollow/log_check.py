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


def complaint(log):
    """Return the first line of `log` that holds a complaint, shortened; empty if none does.

    Of a traceback, the last line of the error is returned, as it says what happened.
    """
    lines = log.splitlines()
    for number, line in enumerate(lines):
        if not _COMPLAINT.search(line):
            continue
        if line.startswith("Traceback"):
            ends = (one for one in lines[number + 1 :] if one and not one[0].isspace())
            line = next(ends, line)
        return line.strip()[:LONGEST]
    return ""


def missing(log, texts):
    """Return a reason if one of `texts` is not in the log, else an empty text."""
    return next((f"its log does not say {text!r}" for text in texts if text not in log), "")
