"""metrics.jsonl and generations.jsonl: one line for each thing seen, in the order of the steps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anima_exp.results.files import write_text


class StepLines:
    """Appends one JSON object a line; each has the `step` it belongs to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        line = json.dumps(row, ensure_ascii=False, allow_nan=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """Every whole line; a line cut short by a crash is left out."""
        if not self.path.exists():
            return []
        rows = []
        for line in self.path.read_text(encoding="utf-8").split("\n"):
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        """Drop every line that is not `wanted`, and one cut short by a crash."""
        kept = [row for row in self.rows() if wanted(row)]
        if self.path.exists():
            write_text(
                self.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
            )
