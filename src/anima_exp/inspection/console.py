"""Show lists of runs, one run, and the difference of two in a terminal of any width."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from anima_exp.comparison.settings import format_value
from anima_exp.display.console import duration, file_size
from anima_exp.display.tables import Column, fitting, safe, say, table, width_of
from anima_exp.inspection.detail import RunDetail
from anima_exp.inspection.difference import Difference, Pair
from anima_exp.inspection.listing import RunSummary
from anima_exp.inspection.options import Status
from anima_exp.inspection.trained_lines import trained_lines
from anima_exp.metrics.metric import metric
from anima_exp.system.terminal import printable

_STYLES = {
    Status.done: "green",
    Status.running: "cyan",
    Status.failed: "red",
    Status.stopped: "yellow",
    Status.pruned: "dim",
}
_SHORTEST_NOTE = 20
_LONGEST = 300  # letters of a value or a note


def show_list(
    runs: Sequence[RunSummary], console: Console, *, every: Sequence[RunSummary], more: int = 0
) -> None:
    """Print one line for each run, and how many there are of each status.

    Args:
        every: all runs of the folder, for the counts.
        more: how many runs are left out.
    """
    say(console, counts(every) or "No run yet.", style="dim")
    if not runs:
        return
    console.print()
    shown, left_out = fitting(list_columns(runs), console.width)
    shown += _notes(runs, console.width - width_of(shown))
    console.print(table(shown))
    notes = [f"{more} more: limit=null shows all"] * bool(more)
    notes += [f"no room for {', '.join(left_out)}"] * bool(left_out)
    if notes:
        say(console, "; ".join(notes), style="dim")


def counts(runs: Sequence[RunSummary]) -> str:
    """Return how many runs there are of each status: `12 done, 1 running`."""
    numbers = {status: sum(run.status is status for run in runs) for status in Status}
    return ", ".join(f"{number} {status.value}" for status, number in numbers.items() if number)


def list_columns(runs: Sequence[RunSummary]) -> list[Column]:
    """Return the columns of a list of runs."""
    now = time.time()
    metrics = list(dict.fromkeys(run.metric for run in runs if run.metric))
    heading = metrics[0] if len(metrics) == 1 else "score"
    return [
        Column("run", [run.name for run in runs], right=False, whole=True),
        Column(
            "status",
            [run.status.value for run in runs],
            right=False,
            whole=True,
            styles=[_STYLES[run.status] for run in runs],
        ),
        Column("step", [_step(run) for run in runs], whole=True, dropped=1),
        Column("age", [age(now - run.changed) for run in runs], whole=True, dropped=2),
        Column(heading, [_score(run, alone=len(metrics) == 1) for run in runs], whole=True),
    ]


def _notes(runs: Sequence[RunSummary], room: int) -> list[Column]:
    """Return a column of notes that is as wide as there is room; none if it would be too narrow."""
    if room < _SHORTEST_NOTE or not any(run.note for run in runs):
        return []
    return [Column("note", [_cut(run.note, room) for run in runs], right=False)]


def age(seconds: float) -> str:
    """Return a time span in its largest unit: `3 min`, `5 h`, `12 d`."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(int(seconds), 0)} s"


def _step(run: RunSummary) -> str:
    if run.step is None:
        return "-"
    if run.steps is None or run.status is Status.done:
        return f"{run.step:,}"
    return f"{run.step:,}/{run.steps:,}"


def _score(run: RunSummary, *, alone: bool) -> str:
    if run.score is None or run.metric is None:
        return "-"
    text = metric(run.metric, run.metrics).number(run.score)
    return text if alone else f"{run.metric} {text}"


def show_run(
    detail: RunDetail,
    console: Console,
    *,
    settings: Sequence[str],
    next_steps: Sequence[tuple[str, str]],
    files: bool = True,
) -> None:
    """Print one run.

    Args:
        settings: the groups and settings that differ from the defaults, as key=value.
        next_steps: (what for, the command) pairs.
    """
    summary = detail.summary
    status = (summary.status.value, _STYLES[summary.status])
    where = safe(_where_it_is(summary))
    console.print(Text.assemble((printable(summary.name), "bold"), "  ", status, where))
    if summary.note and summary.status is not Status.failed:
        say(console, summary.note, style="dim")
    if detail.failure:
        console.print()
        for line in detail.failure.splitlines():
            say(console, line, style="red")
    console.print()
    _facts(detail, console)
    chosen = "  ".join(map(_cut, settings))
    _fact(console, "settings", chosen or "all have their defaults")
    for heading, text in trained_lines(detail.record).items():
        _fact(console, heading, text)
    if detail.scores:
        console.print()
        console.print(table(_scores(detail)))
    if files:
        console.print()
        console.print(table(fitting(_files(detail), console.width)[0]))
    console.print()
    for purpose, command in next_steps:
        _fact(console, purpose, command, style="bold")


def _where_it_is(summary: RunSummary) -> str:
    if summary.step is None:
        return ""
    if summary.status is Status.done:
        return f"  {summary.step:,} steps"
    if summary.steps is None:
        return f"  at step {summary.step:,}"
    return f"  at step {summary.step:,} of {summary.steps:,} ({summary.progress:.0%})"


def _facts(detail: RunDetail, console: Console) -> None:
    summary, record = detail.summary, detail.record
    _fact(console, "folder", str(summary.folder))
    when = datetime.fromtimestamp(summary.changed).strftime("%Y-%m-%d %H:%M")
    word = "finished" if summary.status is Status.done else "changed"
    _fact(console, word, f"{when}, {age(time.time() - summary.changed)} ago")
    if record is None:
        return
    _fact(
        console,
        "cost",
        f"{duration(record.train_seconds)} of training, {duration(record.eval_seconds)} of "
        f"evaluation, {record.tokens:,} tokens, peak memory {record.peak_memory_gib:.1f} GiB",
    )
    where = record.hardware.get("gpu") or _cpu(record.hardware)
    versions = (f"{name} {record.versions[name]}" for name in _SHOWN if name in record.versions)
    _fact(console, "made on", ", ".join([where, *versions]))
    for text in record.tracking.values():
        _fact(console, "track", text)
    if record.ended:
        _fact(console, "ended", record.ended)
    if record.best:
        _fact(console, "best", f"step {record.left_at}, whose weights are kept")


_SHOWN = ("anima-exp", "torch", "transformers", "peft", "bitsandbytes")


def _cpu(hardware: Mapping[str, Any]) -> str:
    threads = str(hardware.get("cpu_threads", "?"))
    return f"CPU, {threads} thread{'s' * (threads != '1')}"


def _fact(console: Console, name: str, text: str, *, style: str | None = None) -> None:
    # In a pipe, a line stays one line. In a terminal, what wraps is indented.
    room = console.width - 10 if console.is_terminal else len(text) + 1
    lines = Text(printable(text), style=style or "").wrap(console, max(room, 20))
    for number, line in enumerate(lines):
        heading = f"{name:<9} " if number == 0 else " " * 10
        console.print(Text.assemble((heading, "dim"), line), soft_wrap=True)


def _scores(detail: RunDetail) -> list[Column]:
    names = [*detail.scores]
    metrics = [metric(name, detail.metrics) for name in names]
    texts = {
        column: [
            "-" if (value := getattr(score, column)) is None else one.number(value)
            for one, score in zip(metrics, detail.scores.values(), strict=True)
        ]
        for column in ("before", "after")
    }
    last = "after" if detail.measured_at is None else f"at step {detail.measured_at:,}"
    return [
        Column("score", names, right=False),
        Column("before", texts["before"]),
        Column(last, texts["after"]),
    ]


def _files(detail: RunDetail) -> list[Column]:
    return [
        Column("file", [one.name for one in detail.files], right=False, whole=True),
        Column("size", [file_size(one.size) for one in detail.files], whole=True),
        Column("", [one.what for one in detail.files], right=False, dropped=1),
    ]


def show_difference(diff: Difference, console: Console) -> None:
    """Print what differs between two runs, in tables with one column for each."""
    for letter, detail in zip("AB", (diff.first, diff.second), strict=True):
        summary = detail.summary
        console.print(
            Text.assemble(
                (f"{letter}  ", "dim"), (printable(str(summary.folder)), "bold"), "  ",
                (summary.status.value, _STYLES[summary.status]), safe(_where_it_is(summary)),
            ),
            soft_wrap=True,
        )  # fmt: skip
    groups: dict[str, list[tuple[str, str, str, str]]] = {
        "setting": [(key, *_texts(pair), "") for key, pair in diff.settings.items()],
        "score": [_score_row(name, pair, diff) for name, pair in diff.scores.items()],
        "cost": [_cost_row(name, pair) for name, pair in diff.costs.items()],
        "also differs": [
            (key, *_texts(pair), "")
            for key, pair in [*diff.other_settings.items(), *diff.versions.items()]
        ],
    }
    for heading, rows in groups.items():
        if not rows:
            continue
        console.print()
        keys, first, second, change = map(list, zip(*rows, strict=True))
        columns = [
            Column(heading, keys, right=False, at_most=40),
            Column("A", first, right=heading != "also differs"),
            Column("B", second, right=heading != "also differs"),
        ]
        if any(change):
            columns.append(Column("B - A", change))
        console.print(table(columns))
    if not any(groups.values()):
        console.print()
        say(console, "Nothing differs.")
    elif diff.same:
        console.print()
        say(console, "No setting that results depend on differs, and no score.", style="dim")


def _texts(pair: Pair) -> tuple[str, str]:
    return _cut(format_value(pair[0]), 60), _cut(format_value(pair[1]), 60)


def _score_row(name: str, pair: Pair, diff: Difference) -> tuple[str, str, str, str]:
    described = {**diff.second.metrics, **diff.first.metrics}
    one = metric(name, described)
    one = one.in_column([value for value in pair if value is not None])
    texts = tuple("-" if value is None else one.number(value) for value in pair)
    change = "" if None in pair else one.difference(pair[1] - pair[0])
    return name, texts[0], texts[1], change


def _cost_row(name: str, pair: Pair) -> tuple[str, str, str, str]:
    labels = {"train_seconds": "training", "eval_seconds": "evaluation"}
    if name in labels:
        texts = [duration(value) for value in pair]
    elif name == "peak_memory_gib":
        texts = [f"{value:.2f} GiB" for value in pair]
    else:
        texts = [f"{value:,}" for value in pair]
    change = f"{pair[1] / pair[0]:.2f} x" if pair[0] else ""
    return labels.get(name, name.replace("_gib", "").replace("_", " ")), *texts, change  # type: ignore[return-value]


def _cut(text: str, longest: int = _LONGEST) -> str:
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
