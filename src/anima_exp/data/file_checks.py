"""Check that a text file has the format that its name says, and find duplicate JSON names."""

import json
from pathlib import Path
from typing import Any

from anima_exp.errors import DataError
from anima_exp.system import json_files

_BOM = b"\xef\xbb\xbf"
HEAD_BYTES = 2**20  # of the beginning of a file


def check(head: bytes, file: Path, *, listed: bool, lines: bool, commas: bool) -> None:
    """Raise DataError if a file has another format than its name says.

    Otherwise every single row would fail, each with a misleading reason.

    Args:
        head: the beginning of the file.
        listed: the name says one JSON list.
        lines: the name says JSON lines.
        commas: the name says comma-separated values.
    """
    if not head.removeprefix(_BOM).strip():
        if listed:
            raise DataError(f"{file} is empty.")
        return  # a file without rows
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in head[:4]:
        raise DataError(f"{file} is UTF-16, not UTF-8. Save it as UTF-8.")
    text = head.removeprefix(_BOM).lstrip()
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
    """Return whether the text begins with one object that spans several lines."""
    try:
        _, end = json.JSONDecoder().raw_decode(text.decode("utf-8", errors="ignore"))
    except (ValueError, RecursionError):
        return False
    return "\n" in text.decode("utf-8", errors="ignore")[:end]


# Python's JSON reader silently keeps the last of two values with the same name.


class _DuplicateName(dict[str, Any]):
    """A JSON object that has a name twice."""

    name = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    names = [name for name, _ in pairs]
    marked = _DuplicateName(values)
    marked.name = next(name for name in names if names.count(name) > 1)
    return marked


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def parse(text: str) -> Any:
    """Return the value of a JSON text like json_files.parse, ready for `duplicate_name`."""
    return json_files.parse(text, decode=_DECODER.decode)


def duplicate_name(value: object) -> str | None:
    """Return a name that an object inside `value` has twice, or None."""
    waiting = [value]
    while waiting:  # not recursive, because a JSON value may be as deep as Python allows
        item = waiting.pop()
        if isinstance(item, _DuplicateName):
            return item.name
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        waiting += [part for part in inner if isinstance(part, dict | list)]
    return None


def message(name: str) -> str:
    """Return the error text of a duplicate name."""
    return f"it has the column '{name}' twice"
