"""Check that a text file has the format that its name says, and find duplicate JSON names."""

import json
from pathlib import Path
from typing import Any

from anima_exp.errors import DataError
from anima_exp.system import json_files

_BOM = b"\xef\xbb\xbf"
SEEN_BYTES = 2**20  # of a file's beginning


def check(seen: bytes, file: Path, *, listed: bool, lines: bool, commas: bool) -> None:
    """Raise DataError for a file that is of another kind than its name says, as a whole.

    Row by row every row would be bad, and each for a reason that leads astray.

    Args:
        seen: how the file begins.
        listed: its name says one JSON list.
        lines: its name says JSON lines.
        commas: its name says cells between commas.
    """
    if not seen.removeprefix(_BOM).strip():
        if listed:
            raise DataError(f"{file} is empty.")
        return  # a file of no rows
    if seen.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in seen[:4]:
        raise DataError(f"{file} is UTF-16, not UTF-8. Save it as UTF-8.")
    text = seen.removeprefix(_BOM).lstrip()
    first, _, rest = text.partition(b"\n")
    if lines:
        if text.startswith(b"[") and not _is_json(first):
            list_of_rows = True
        else:
            list_of_rows = isinstance(_parsed(first), list) and not rest.strip()
        if list_of_rows:
            raise DataError(
                f"{file} contains one JSON list, but a file of JSON lines has one object on each "
                "line. Rename it to .json."
            )
        if text.startswith(b"{") and not _is_json(first) and _is_several_lines(text):
            raise DataError(
                f"{file} has objects that span several lines, but a file of JSON lines has one "
                "object on each line. Write each row on one line, or all rows as one list in a "
                ".json file."
            )
    for mark, name in ((b";", "semicolons"), (b"\t", "tabs")):
        if commas and mark in first and b"," not in first:
            raise DataError(
                f"{file} has a header separated by {name}, not by commas. Save it with commas as "
                "separators" + (", or rename it to .tsv." if mark == b"\t" else ".")
            )


def _parsed(text: bytes) -> Any:
    try:
        return json_files.parse(text)
    except ValueError:
        return None


def _is_json(text: bytes) -> bool:
    try:
        json_files.parse(text)
        return True
    except ValueError:
        return False


def _is_several_lines(text: bytes) -> bool:
    """Whether the text begins with one whole object that goes on behind its first line."""
    try:
        _, end = json.JSONDecoder().raw_decode(text.decode("utf-8", errors="ignore"))
    except (ValueError, RecursionError):
        return False
    return "\n" in text.decode("utf-8", errors="ignore")[:end]


# Python's JSON reader silently keeps the last of two values with the same name.


class _Twice(dict[str, Any]):
    """An object that names something twice; `name` says what."""

    name = ""


def _made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    names = [name for name, _ in pairs]
    marked = _Twice(found)
    marked.name = next(name for name in names if names.count(name) > 1)
    return marked


_DECODER = json.JSONDecoder(object_pairs_hook=_made)


def parse(text: str) -> Any:
    """Return the value of a JSON text as json_text.parse does, ready for `find`."""
    return json_files.parse(text, decode=_DECODER.decode)


def find(value: Any) -> str | None:
    """Return a name that an object inside `value` holds twice, or None."""
    waiting = [value]
    while waiting:  # no recursion: what json has read may be as deep as Python allows
        one = waiting.pop()
        if isinstance(one, _Twice):
            return one.name
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        waiting += [part for part in inner if isinstance(part, dict | list)]
    return None


def message(name: str) -> str:
    return f"it has the column '{name}' twice"
