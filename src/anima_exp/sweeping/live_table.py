"""Show a sweep as a live table: state, step, loss and time left of every cell."""

import time
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from math import ceil
from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from anima_exp.display.console import console, duration
from anima_exp.metrics.metric import Metric
from anima_exp.sweeping.cell import Cell, Job, Outcome
from anima_exp.sweeping.gpu_leases import Allocation
from anima_exp.system import json_files
from anima_exp.system.terminal import printable


class Progress:
    """Follow the metrics.jsonl of one cell from the moment its process starts."""

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
        self._steps = cell.config.trainer.max_steps

    @classmethod
    def whole(cls, cell: Cell) -> "Progress":
        """Follow a cell that another process runs or has run, from its first row."""
        progress = cls(cell)
        progress._read = 0
        progress.read()
        return progress

    @property
    def steps(self) -> int | None:
        """Steps of the whole run. A run given in epochs knows them after its first row."""
        return self._steps

    def read(self) -> list[dict[str, Any]]:
        """Return the rows written since the last call."""
        if self._inode() != self._identity:  # a resumed run writes a new file
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
        if trained and self._first is None:  # the rows of the first read may be of an earlier start
            self._first = (trained[-1], time.monotonic())
        return rows

    def seconds_left(self) -> float | None:
        """Return the seconds left, at the speed since the first row of this process."""
        if self._first is None or self.steps is None or self.step <= self._first[0]:
            return None
        step, then = self._first
        return (time.monotonic() - then) / (self.step - step) * (self.steps - self.step)

    def _take(self, row: dict[str, Any]) -> None:
        self.step = max(self.step, row["step"])
        if "loss" in row:
            self.loss = row["loss"]
            if self._steps is None and row.get("epoch"):
                epochs = self.cell.config.trainer.num_epochs or 0.0
                # The last batch may be smaller, but its step counts as one.
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
    """Parse a line; None if a crash or a full disk truncated it."""
    try:
        row = json_files.parse(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    row.pop(json_files.KEY, None)  # of the file's first line
    return {key: value for key, value in row.items() if isinstance(value, int | float)}


class Status(StrEnum):
    """Status of a cell, in the order in which a terminal with too few lines shows them."""

    running = "running"
    stopping = "stopping"
    failed = "failed"
    elsewhere = "elsewhere"  # another process runs it
    paused = "paused"  # at a rung, until the schedule decides
    pruned = "stopped early"
    done = "done"
    waiting = "waiting"


_STYLES = {
    Status.running: "bold", Status.stopping: "yellow", Status.failed: "red",
    Status.elsewhere: "yellow", Status.done: "green",
}  # fmt: skip
_AFTER = {
    Outcome.done: Status.done,
    Outcome.failed: Status.failed,
    Outcome.paused: Status.paused,
    Outcome.in_use: Status.elsewhere,
    Outcome.gpu_taken: Status.waiting,
    Outcome.cuda_initialized: Status.waiting,
    Outcome.server_gone: Status.waiting,
    Outcome.stopped: Status.waiting,
    Outcome.pruned: Status.pruned,
}
_FRAME_LINES = 6  # lines of the terminal that do not show a cell


class Board:
    """Show a table in a terminal, or print one line per event in a log."""

    def __init__(self, cells: list[Cell], *, metric: Metric, shown: bool = True) -> None:
        self.cells = {cell.name: cell for cell in cells}
        self.status = {cell.name: Status.waiting for cell in cells}
        self.metric, self._described = metric.name, metric
        self._places: dict[str, str] = {}
        self._seen: dict[str, Progress] = {}
        self._note = ""
        self._shown = shown
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._wide = max((len(cell.label) for cell in cells), default=0)

    @property
    def _drawn(self) -> bool:
        return self._shown and console.is_terminal

    def __enter__(self) -> "Board":
        if self._drawn:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            self._live.stop()

    def add(self, cell: Cell) -> None:
        """Add a cell that was not known at the start."""
        if cell.name not in self.cells:
            self.cells[cell.name] = cell
            self.status[cell.name] = Status.waiting

    def set(self, cell: Cell, status: Status) -> None:
        self.status[cell.name] = status

    def started(self, job: Job, place: Allocation) -> None:
        self._places[job.cell.name] = place.gpus or "cpu"
        self.status[job.cell.name] = Status.running
        self._tell(job.cell, f"started on {self._places[job.cell.name]}")

    def ended(self, job: Job, outcome: Outcome, progress: Progress) -> None:
        name = job.cell.name
        if outcome is Outcome.in_use and self.status[name] is Status.elsewhere:
            return  # no change
        self._seen[name] = progress
        self.status[name] = _AFTER[outcome]
        said = {
            Outcome.done: f"done, {self._score(progress)}",
            Outcome.failed: f"failed: {job.cell.failure}",
            Outcome.paused: f"paused at step {progress.step}, {self._score(progress)}",
            Outcome.in_use: "another process runs it",
            Outcome.server_gone: "the process that starts jobs was killed; starting it again",
            Outcome.stopped: f"stopped at step {progress.step}",
            Outcome.pruned: f"pruned at step {progress.step}, {self._score(progress)}",
        }
        if outcome in said:
            self._tell(job.cell, said[outcome])

    def show(self, running: Mapping[str, Progress]) -> None:
        self._seen |= running
        if self._drawn:
            self._live.update(self._table(), refresh=True)

    def stopping(self, name: str) -> None:
        running = [n for n, status in self.status.items() if status is Status.running]
        for cell in running:
            self.status[cell] = Status.stopping
        self.say(
            f"{name}: {len(running)} running jobs are saving checkpoints. "
            "Press Ctrl-C again to quit now."
        )

    def say(self, text: str) -> None:
        self._note = text
        if self._shown:
            console.print(Text(printable(text)), soft_wrap=True)

    def counts(self) -> str:
        """Return the number of cells by status: `3 running, 12 done, 75 waiting`."""
        counted = Counter(self.status.values())
        return ", ".join(f"{counted[s]} {s.value}" for s in Status if counted[s])

    def _tell(self, cell: Cell, text: str) -> None:
        if self._shown and not console.is_terminal:
            line = f"#{cell.number} {cell.label}: {text}"
            console.print(Text(printable(line)), soft_wrap=True)

    def _score(self, progress: Progress) -> str:
        value = progress.scores.get(self.metric)
        if value is not None:
            return f"{self.metric} {self._described.number(value)}"
        return f"loss {progress.loss:.4f}" if progress.loss is not None else "nothing measured"

    def _table(self) -> Table:
        room = max(console.height - _FRAME_LINES, 3)
        order = sorted(self.cells.values(), key=lambda c: list(Status).index(self.status[c.name]))
        shown = sorted(order[:room], key=lambda c: c.number)
        table = Table(
            "", "run", "state", "step", "loss", self.metric, "left",
            box=None, pad_edge=False, header_style="dim",
            caption=Text(printable(self._note or self._rest(len(order) - len(shown)))),
            caption_justify="left",
        )  # fmt: skip
        for column in (0, 3, 4, 5, 6):
            table.columns[column].justify = "right"
        for cell in shown:
            table.add_row(*self._row(cell), style=_STYLES.get(self.status[cell.name], "dim"))
        return table

    def _rest(self, hidden: int) -> str:
        return self.counts() + (f"; {hidden} of them not shown" if hidden else "")

    def _row(self, cell: Cell) -> tuple[str | Text, ...]:
        status, seen = self.status[cell.name], self._seen.get(cell.name)
        state = status.value
        if status is Status.running and self._places.get(cell.name, "cpu") != "cpu":
            first, *more = self._places[cell.name].split(",")
            state += f" {first[:12]}" + f" +{len(more)}" * bool(more)
        label = Text(printable(cell.label))
        if seen is None:
            return (str(cell.number), label, state, "", "", "", "")
        left = seen.seconds_left() if status is Status.running else None
        score = seen.scores.get(self.metric)
        return (
            str(cell.number),
            label,
            state,
            f"{seen.step}/{seen.steps or '?'}",
            f"{seen.loss:.4f}" if seen.loss is not None else "",
            self._described.number(score) if score is not None else "",
            duration(left) if left is not None else "",
        )
