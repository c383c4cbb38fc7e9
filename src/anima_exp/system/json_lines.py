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
    """A file of JSON objects, one a line, each with the `step` that it belongs to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        """Append one line, which the next `vouch` flushes to the disk.

        Raises:
            RunError: if the disk is full.
        """
        with (
            disk_errors_as_run_error(self.path.parent),
            self.path.open("a", encoding="utf-8") as file,
        ):
            if file.tell() == 0:
                row = json_files.stamp(row, json_files.LINES)
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """Return all valid lines. Incomplete lines, which a crash may leave, are left out.

        Raises:
            NewerFileError: if a later version of anima-exp wrote the file.
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
        except ValueError:  # only the version is damaged
            return {key: value for key, value in row.items() if key != json_files.KEY}

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Rewrite the file without the lines that are not `wanted` and without incomplete lines."""
        kept = [row for row in self.rows() if wanted(row)]
        # A file without a version keeps none, because its checkpoints have a hash of its bytes.
        if f'"{json_files.KEY}"'.encode() in self._bytes().partition(b"\n")[0]:
            kept[:1] = [json_files.stamp(row, json_files.LINES) for row in kept[:1]]
        if self.path.exists():
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
            with disk_errors_as_run_error(self.path.parent):
                atomic_write_text(self.path, text)

    def vouch(self) -> dict[str, Any] | None:
        """Flush all lines to the disk, and return what `intact` compares; None without a file."""
        if not self.path.exists():
            return None
        flush(self.path)
        content = self._bytes()
        digest = hashlib.sha256(content).hexdigest()
        return {"lines": content.count(b"\n"), "bytes": len(content), "sha256": digest}

    def intact(self, mark: dict[str, Any]) -> bool:
        """Return whether the lines are unchanged that the file had when `vouch` returned `mark`."""
        content = self._bytes()[: mark["bytes"]]
        return bool(hashlib.sha256(content).hexdigest() == mark["sha256"])

    def _bytes(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""
