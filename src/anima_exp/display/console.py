"""Print a run in the terminal: its plan, its progress, and a summary."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import progress
from rich.table import Table
from rich.text import Text

from anima_exp.errors import without_password
from anima_exp.metrics.metric import metric
from anima_exp.system import terminal
from anima_exp.system.invocation import command_line
from anima_exp.system.terminal import printable

if TYPE_CHECKING:
    from anima_exp.results.record import Record

console = terminal.console()

_MEANS = {"macro": "mean over subjects", "micro": "mean over questions"}


def show_plan(lines: Mapping[str, str]) -> None:
    """Print what is about to be done, before the first step."""
    width = max(map(len, lines))
    for key, value in lines.items():
        heading = (f"{printable(key):<{width}}", "dim")
        text = printable(without_password(value))
        console.print(Text.assemble(heading, f"  {text}"), soft_wrap=True)
    console.print()


def file_size(count: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def say(text: str) -> None:
    console.print(Text(printable(without_password(text))), soft_wrap=True)


class Progress:
    """Show step, loss, speed and time left: with a bar in a terminal, as lines in a log."""

    def __init__(self, steps: int, *, first: int = 0) -> None:
        self.steps, self.first = steps, first
        self._started = time.monotonic()
        self._bar = progress.Progress(
            progress.BarColumn(24),
            progress.TextColumn("{task.description}", markup=False),
            console=console,
            auto_refresh=False,  # no second thread during training
            transient=True,
        )
        self._task = self._bar.add_task("", total=steps, completed=first)

    def line(self, row: Mapping[str, Any]) -> None:
        step = row["step"]
        done = max(step - self.first, 1)
        left = (time.monotonic() - self._started) / done * (self.steps - step)
        text = (
            f"{self._step(step)}  loss {row['loss']:.4f}  "
            f"{row['tokens_per_second']:,.0f} tokens/s  {duration(left)} left"
        )
        if console.is_terminal:
            self._bar.start()
            self._bar.update(self._task, completed=step, description=text, refresh=True)
        else:
            console.print(text)

    def scores(
        self, step: int, scores: Mapping[str, float], metrics: Mapping[str, Any] | None = None
    ) -> None:
        text = "  ".join(f"{name} {number(name, value, metrics)}" for name, value in scores.items())
        if text:
            console.print(f"{self._step(step)}  {text}")

    def close(self) -> None:
        if console.is_terminal:  # in a log, rich would print an empty line
            self._bar.stop()

    def _step(self, step: int) -> str:
        return f"step {step:>{len(str(self.steps))}}/{self.steps}"


def show_scores(
    before: Mapping[str, float] | None,
    after: Mapping[str, float],
    metrics: Mapping[str, Any] | None = None,
    intervals: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Print a table of scores, with those `before` if given.

    Args:
        metrics: descriptions of scores.
        intervals: 95 % intervals of scores, low and high.
    """
    if not after:
        return
    columns = ("score", "") if before is None else ("score", "before", "after")
    table = Table(*columns, box=None, pad_edge=False, header_style="dim")
    for name, value in after.items():
        shown = metric(name, metrics).with_interval(value, (intervals or {}).get(name))
        cells = [Text(shown, style="bold")]
        if before is not None:
            cells.insert(0, Text(number(name, before[name], metrics) if name in before else "-"))
        table.add_row(Text(printable(name)), *cells)
    console.print(table)


def show_accuracies(benchmark: str, rows: Sequence[Mapping[str, Any]], *, subjects: bool) -> None:
    """Print the means of a benchmark; with `subjects` also the accuracy of every subject."""
    table = Table(
        benchmark, "right", "95 % interval", "questions",
        box=None, pad_edge=False, header_style="dim",
    )  # fmt: skip
    for column in (1, 3):
        table.columns[column].justify = "right"
    for row in rows:
        if row["of"] == "subject" and not subjects:
            continue
        table.add_row(
            Text(printable(_MEANS.get(row["name"], row["name"]))),
            f"{100 * row['mean']:.1f} %",
            f"{100 * row['low']:.1f} to {100 * row['high']:.1f} %",
            f"{row['asked']:,}",
            style="bold" if row["name"] == "macro" else "",
        )
    console.print(table)
    say("")


def show_answers(
    before: list[tuple[str, str]], after: list[tuple[str, str]], *, at_most: int = 3
) -> None:
    """Print the answers to the same questions before and after training."""
    was = dict(before)
    for question, answer in after[:at_most]:
        console.print(Text.assemble("\n", ("prompt", "dim"), f" {_short(question)}"))
        if question in was:
            console.print(Text.assemble(("before", "dim"), f" {_short(was[question])}"))
        console.print(Text.assemble(("after ", "dim"), " ", (_short(answer), "bold")))


def show_summary(
    record: "Record",
    trained: Path,
    *,
    before: list[tuple[str, str]],
    after: list[tuple[str, str]],
) -> None:
    """Print the summary of a run. `trained` is the folder of its adapter, or of its model."""
    say("")
    show_scores(record.scores_before, record.scores, record.metrics, record.intervals)
    show_answers(before, after)
    training, measuring = map(duration, (record.train_seconds, record.eval_seconds))
    say(
        f"\n{record.steps} steps, {record.tokens:,} tokens in {training} (and {measuring} of "
        f"evaluation), peak memory {record.peak_memory_gib:.1f} GiB"
        + (f" of {record.peak_reserved_gib:.1f} reserved" if record.peak_reserved_gib else "")
    )
    if record.ended:
        say(f"stopped  {record.ended}")
    if record.best:
        value = number(record.best["metric"], record.best["value"], record.metrics)
        say(
            f"best     step {record.left_at}: {record.best['metric']} {value}; its weights are kept"
        )
    say(f"run      {trained.parent}")
    say(f"{trained.name:<8} {trained}")
    for note in record.tracking.values():
        say(f"track    {note}")
    say("next     the same command with -m seed=1,2,3 shows how much of this is chance")
    if record.settings["model.source"] == "tiny":
        say(f"or       {command_line('train', ['-m', 'sweep=demo'])}")


def number(name: str, value: float, metrics: Mapping[str, Any] | None = None) -> str:
    """Format a score or a logged value with its unit. `metrics` describes custom scores."""
    return metric(name, metrics).number(value)


def duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _short(text: str, width: int = 160) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= width else line[: width - 1] + "…"
