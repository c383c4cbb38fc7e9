"""Keep what was measured: a JSON line for each row, safe on the disk as soon as it is written.

A part that is killed loses nothing but the row it was measuring.
"""

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = "rows.jsonl"
PART = "part"  # the row that says how a part went
Row = dict[str, Any]


class Rows:
    """Appends the rows of one part to `OUT/rows.jsonl`."""

    def __init__(self, out: Path, part: str) -> None:
        self.file, self.part = out / FILE, part

    def add(self, name: str, /, **values: Any) -> None:
        """Write one row and wait until the disk has it."""
        line = json.dumps({"part": self.part, "row": name, **values}, default=str)
        # One write: a row of a process that is killed meanwhile is whole or absent.
        with self.file.open("ab") as file:
            file.write(f"{line}\n".encode())
            file.flush()
            os.fsync(file.fileno())
        print(line, flush=True)

    def attempt(self, name: str, case: Row, work: Callable[..., Row | None], *given: Any) -> None:
        """Write `case` and what `work(*given)` returns; if it fails, write the error instead."""
        try:
            found = work(*given)
        except Exception as error:
            self.add(name, **case, error=error_text(error))
        else:
            if found is not None:
                self.add(name, **case, **found)


def error_text(error: BaseException) -> str:
    """Return an error with the place in the code that raised it."""
    place = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" ({Path(one.filename).name}:{one.lineno})" for one in place)
    return f"{type(error).__name__}: {error}"[:600] + where


def read(*files: Path) -> list[Row]:
    """Return all whole rows. A line that a power cut has left unfinished is left out."""
    found = []
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found


def latest(rows: list[Row]) -> list[Row]:
    """Return the rows of the last attempt at each part."""
    kept: dict[str, list[Row]] = {}
    for row in rows:
        if row["row"] == PART and row["state"] in ("begun", "left out"):
            if row["state"] == "left out" and row["part"] in kept:
                continue  # an earlier command has measured it
            kept[row["part"]] = []
        kept.setdefault(row["part"], []).append(row)
    return [row for part in kept.values() for row in part]
