"""List the runs of a folder: their status, their progress, and their main score.

    for run in list_runs(Path("runs"), statuses=[Status.running]):
        print(run.name, run.step, run.steps)

A folder of thousands of runs is listed in seconds: of each run only `record.json` is read, or, if
the run has none, `settings.json` and the end of `metrics.jsonl`. Nothing is written or locked.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from anima_exp.config.former_names import todays
from anima_exp.errors import NewerFileError, RunError, first_line
from anima_exp.inspection.folders import FAILURE, RECORD, SETTINGS, run_folders
from anima_exp.inspection.liveness import running_process
from anima_exp.inspection.options import Status
from anima_exp.metrics.metric import metric
from anima_exp.system import json_files
from anima_exp.system.paths import expanded

METRICS = "metrics.jsonl"
_TAIL_BYTES = 16_384  # of metrics.jsonl: some thirty lines, with the last evaluation among them


@dataclass(frozen=True)
class RunSummary:
    """One line of the list of runs."""

    folder: Path
    name: str
    status: Status
    step: int | None  # the last one that was logged; None if none was
    steps: int | None  # the last one that is planned; None if it is unknown
    changed: float  # when its newest file was written, in seconds since 1970
    metric: str | None = None  # the score that its sweep would compare by
    score: float | None = None
    note: str = ""  # why it failed or was pruned, or which process runs it
    metrics: Mapping[str, Any] = field(default_factory=dict)  # descriptions of scores, by name

    @property
    def progress(self) -> float | None:
        """Return the share of the planned steps that is done; None if it is unknown."""
        if self.step is None or not self.steps:
            return 1.0 if self.status is Status.done else None
        return min(self.step / self.steps, 1.0)


def list_runs(folder: Path, *, statuses: Collection[Status] = ()) -> list[RunSummary]:
    """Return the runs of `folder`, the one that changed last first.

    Args:
        folder: a folder of runs, of a sweep, of several sweeps, or of one run.
        statuses: only runs with one of these; empty for all.

    Raises:
        RunError: if there is no such folder, or it holds neither a run nor a sweep.
    """
    return [run for run in runs_in([folder]) if not statuses or run.status in statuses]


def runs_in(folders: Iterable[Path]) -> list[RunSummary]:
    """Return the runs of several folders, each once, the one that changed last first.

    Raises:
        RunError: see `list_runs`.
    """
    result: dict[Path, RunSummary] = {}
    for folder in folders:
        place = expanded(folder)
        try:
            for run, pruned in run_folders(place):
                if run not in result:
                    result[run] = summarize(run, pruned=pruned)
        except OSError as error:
            raise RunError(f"{place} cannot be read: {error.strerror}.") from error
    return ordered(result.values(), "time")


def ordered(runs: Iterable[RunSummary], by: str) -> list[RunSummary]:
    """Return runs sorted by time (the newest first), name, status, or score (the best first)."""
    keys: dict[str, Callable[[RunSummary], Any]] = {
        "time": lambda run: (-run.changed, run.name),
        "name": lambda run: run.name,
        "status": lambda run: ([*Status].index(run.status), -run.changed),
        "score": lambda run: (run.score is None, run.metric or "", _worse_by(run)),
    }
    return sorted(runs, key=keys[by])


def _worse_by(run: RunSummary) -> float:
    if run.metric is None or run.score is None:
        return 0.0
    return metric(run.metric, run.metrics).sort_key(run.score)


def summarize(folder: Path, *, pruned: str | None = None) -> RunSummary:
    """Read as much of a run's folder as its line in the list needs.

    Args:
        pruned: why its sweep ended it early; None if it did not.
    """
    times = _times(folder)
    changed = max(times.values(), default=0.0)
    if RECORD in times:
        return _finished(folder, changed)
    try:
        settings = todays(_read(folder / SETTINGS, json_files.SETTINGS))
    except (OSError, ValueError, NewerFileError):
        settings = {}  # it never got so far, or the file is damaged
    rows = _last_rows(folder / METRICS) if METRICS in times else []
    reached = [*(row["step"] for row in rows), *checkpoint_steps(folder)]
    step = max(reached, default=None)
    metric, score = _score(rows, settings)
    process = running_process(folder)
    status, note = Status.stopped, ""
    if process:
        status, note = Status.running, process
    elif pruned is not None:
        status, note = Status.pruned, pruned
    elif FAILURE in times:
        status, note = Status.failed, _failure(folder)
    return RunSummary(
        folder, folder.name, status, step, _planned(rows, settings), changed, metric, score, note
    )


def checkpoint_steps(folder: Path) -> list[int]:
    """Return the steps of a run's checkpoints, whole or not."""
    try:
        with os.scandir(folder / "checkpoints") as entries:
            names = [one.name for one in entries if one.name.startswith("checkpoint-")]
    except OSError:
        return []
    steps = [name.rpartition("-")[2] for name in names]
    return sorted(int(step) for step in steps if step.isdigit())


def _finished(folder: Path, changed: float) -> RunSummary:
    try:
        record = _read(folder / RECORD, json_files.RECORD)
        scores, settings = record["scores"], record["settings"]
        step = int(record["steps"])
        changed = datetime.fromisoformat(record["finished"]).timestamp()
        metric = _main_metric(scores, settings.get("sweep.metric"))
    except NewerFileError as error:
        return RunSummary(
            folder, folder.name, Status.done, None, None, changed, note=first_line(error)
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        note = f"{RECORD} cannot be read: {first_line(error)}"
        return RunSummary(folder, folder.name, Status.failed, None, None, changed, note=note)
    return RunSummary(
        folder,
        folder.name,
        Status.done,
        step,
        step,
        changed,
        metric,
        scores.get(metric) if metric else None,
        str(record.get("ended") or ""),
        record.get("metrics") or {},
    )


def _score(
    rows: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]
) -> tuple[str | None, float | None]:
    """Return the main score of the last evaluation."""
    for row in reversed([*rows]):
        if "eval_seconds" in row:
            scores = {k: v for k, v in row.items() if k not in ("step", "eval_seconds", "part")}
            metric = _main_metric(scores, settings.get("sweep.metric"))
            if metric and isinstance(scores[metric], int | float):
                return metric, float(scores[metric])
    return None, None


def _main_metric(scores: Mapping[str, Any], wanted: object) -> str | None:
    for name in (wanted, "heldout_loss"):
        if isinstance(name, str) and name in scores:
            return name
    return next(iter(scores), None)


def _planned(rows: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> int | None:
    """Return the last planned step: from the settings, or from the passes over the data so far."""
    steps, epochs = settings.get("trainer.max_steps"), settings.get("trainer.num_epochs")
    if isinstance(steps, int):
        return steps
    for row in reversed([*rows]):
        done = row.get("epoch")
        if isinstance(epochs, int | float) and isinstance(done, int | float) and done > 0:
            planned: float = row["step"] * epochs / done
            return round(planned)
    return None


def _last_rows(file: Path) -> list[dict[str, Any]]:
    """Return the last whole lines of metrics.jsonl."""
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(size - _TAIL_BYTES, 0))
            lines = opened.read().split(b"\n")
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            row = json_files.parse(line)
        except ValueError:
            continue  # cut short: the first one by us, the last one by a crash
        if isinstance(row, dict) and type(row.get("step")) is int:
            row.pop(json_files.KEY, None)  # of the file's first line; it is no score
            rows.append(row)
    return rows


def _times(folder: Path) -> dict[str, float]:
    """Return when each of a run's own files was written."""
    own = (RECORD, SETTINGS, FAILURE, METRICS)
    with os.scandir(folder) as entries:
        return {one.name: one.stat().st_mtime for one in entries if one.name in own}


def _failure(folder: Path) -> str:
    try:
        text = (folder / FAILURE).read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        return f"{FAILURE} cannot be read: {error.strerror}"
    return text.partition("\n")[0]


def _read(file: Path, version: int) -> dict[str, Any]:
    return json_files.read_versioned(json_files.read_table(file), file, version)
