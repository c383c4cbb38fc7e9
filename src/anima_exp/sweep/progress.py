"""How far a running cell is: read from the metrics that it writes, as any onlooker could."""

import time
from math import ceil
from typing import Any

from anima_exp import json_text, schema_version
from anima_exp.sweep.cell import Cell


class Progress:
    """Follows one cell's metrics.jsonl from the moment its process starts."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.step = 0
        self.loss: float | None = None
        self.scores: dict[str, float] = {}  # of the last evaluation
        self.started = time.monotonic()
        self._first: tuple[int, float] | None = None  # step and time of the first rows read
        self._file = cell.folder / "metrics.jsonl"
        self._read = self._size()
        self._identity = self._inode()
        self._steps = cell.config.trainer.steps

    @classmethod
    def whole(cls, cell: Cell) -> "Progress":
        """Of a cell that another process runs or has run: from its first row."""
        progress = cls(cell)
        progress._read = 0
        progress.read()
        return progress

    @property
    def steps(self) -> int | None:
        """Of the whole run; for a run of epochs it shows with the first row."""
        return self._steps

    def read(self) -> list[dict[str, Any]]:
        """The rows written since the last call."""
        if self._inode() != self._identity:  # a resumed run writes its file anew
            self._identity, self._read = self._inode(), 0
        try:
            with self._file.open("rb") as file:
                file.seek(self._read)
                whole, newline, _ = file.read().rpartition(b"\n")
        except OSError:
            return []
        self._read += len(whole) + len(newline)
        rows = [row for line in whole.split(b"\n") if (row := _row(line))]
        for row in rows:
            self._take(row)
        trained = [row["step"] for row in rows if "loss" in row]
        if trained and self._first is None:  # all that was there at once is of an earlier start
            self._first = (trained[-1], time.monotonic())
        return rows

    def seconds_left(self) -> float | None:
        """At the speed since the first row that this process wrote."""
        if self._first is None or self.steps is None or self.step <= self._first[0]:
            return None
        step, then = self._first
        return (time.monotonic() - then) / (self.step - step) * (self.steps - self.step)

    def _take(self, row: dict[str, Any]) -> None:
        self.step = max(self.step, row["step"])
        if "loss" in row:
            self.loss = row["loss"]
            if self._steps is None and row.get("epoch"):
                epochs = self.cell.config.trainer.epochs or 0.0
                # The last batch may be short, so that the last step counts as one all the same.
                self._steps = ceil(round(row["step"] * epochs / row["epoch"], 6))
        else:
            self.scores = {k: v for k, v in row.items() if k not in ("step", "eval_seconds")}

    def _size(self) -> int:
        try:
            return self._file.stat().st_size
        except OSError:
            return 0

    def _inode(self) -> int:
        try:
            return self._file.stat().st_ino
        except OSError:
            return 0


def _row(line: bytes) -> dict[str, Any] | None:
    """None for a line that a crash or a full disk cut short."""
    try:
        row = json_text.parse(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    row.pop(schema_version.KEY, None)  # of the file's first line
    return {key: value for key, value in row.items() if isinstance(value, int | float)}
