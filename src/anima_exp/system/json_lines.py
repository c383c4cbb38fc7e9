"""Write and read metrics.jsonl and similar files: one JSON object a line, in the order of steps.

The first line also has the schema version of the file, which callers neither pass nor receive.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anima_exp.system import json_files
from anima_exp.system.atomic import atomic_write_text, disk_errors_as_run_error, flush


class JsonLinesLog:
    """Appends one JSON object a line; each has the `step` it belongs to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        """Add one line, which is on the disk after the next `vouch`.

        Raises:
            RunError: the disk is full.
        """
        with (
            disk_errors_as_run_error(self.path.parent),
            self.path.open("a", encoding="utf-8") as file,
        ):
            if file.tell() == 0:
                row = json_files.stamp(row, json_files.LINES)
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """Every whole line; one that a crash cut short, or that is no such line, is left out.

        Raises:
            NewerFile: a later version of anima-exp wrote the file.
        """
        rows = []
        for line in self._bytes().split(b"\n"):
            try:
                row = json_files.parse(line)
            except ValueError:
                continue
            if isinstance(row, dict) and type(row.get("step")) is int:
                rows.append(row)
        if rows:
            rows[0] = self._unstamped(rows[0])
        return rows

    def _unstamped(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            return json_files.read_versioned(row, self.path, json_files.LINES)
        except ValueError:  # a damaged number; the line itself is whole
            return {key: value for key, value in row.items() if key != json_files.KEY}

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Drop every line that is not `wanted`, and one cut short by a crash."""
        kept = [row for row in self.rows() if wanted(row)]
        # A file of the first version stays without the number: its checkpoints know its bytes.
        if f'"{json_files.KEY}"'.encode() in self._bytes().partition(b"\n")[0]:
            kept[:1] = [json_files.stamp(row, json_files.LINES) for row in kept[:1]]
        if self.path.exists():
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
            with disk_errors_as_run_error(self.path.parent):
                atomic_write_text(self.path, text)

    def vouch(self) -> dict[str, Any] | None:
        """Bring all lines to the disk; return what `intact` compares later. None without a file."""
        if not self.path.exists():
            return None
        flush(self.path)
        content = self._bytes()
        digest = hashlib.sha256(content).hexdigest()
        return {"lines": content.count(b"\n"), "bytes": len(content), "sha256": digest}

    def intact(self, mark: dict[str, Any]) -> bool:
        """Whether the lines are still there that were there when `vouch` returned `mark`."""
        content = self._bytes()[: mark["bytes"]]
        return bool(hashlib.sha256(content).hexdigest() == mark["sha256"])

    def _bytes(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""
