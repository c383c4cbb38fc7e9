"""Read everything about one run: its settings, scores, costs, files, and why it stopped.

detail = run_detail(Path("runs/tiny-sample-61186a1f32"))
detail.scores["heldout_loss"]  # Score(before=2.1872, after=0.5234)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anima_exp.comparison.extra_scores import with_evaluations
from anima_exp.comparison.runs import Run, Runs, curves, read_run
from anima_exp.config.former_names import todays
from anima_exp.errors import RunError
from anima_exp.inspection.folders import is_run
from anima_exp.inspection.listing import RunSummary, checkpoint_steps, summarize
from anima_exp.inspection.options import Status
from anima_exp.results.record import Record
from anima_exp.system.paths import expanded

_NOT_SCORES = ("step", "eval_seconds", "part")


@dataclass(frozen=True)
class Score:
    """One score at the start and at the end of a run; None where it was not measured."""

    before: float | None
    after: float | None


@dataclass(frozen=True)
class FileEntry:
    """A file, or a folder with all that is in it."""

    name: str  # with a slash at the end for a folder
    size: int  # bytes
    what: str  # in a few words; empty for a file that is not ours


@dataclass(frozen=True)
class RunDetail:
    """One run in full. `settings` are flattened: {"lora.rank": 64, ...}."""

    summary: RunSummary
    settings: Mapping[str, Any]
    scores: Mapping[str, Score]
    measured_at: int | None  # the step of the later scores; None for those of the finished run
    record: Record | None  # of a run that is done
    failure: str | None
    files: tuple[FileEntry, ...]
    checkpoint_step: int | None  # from which the same command would resume

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Return the descriptions of scores that the run's own evaluations gave."""
        return self.record.metrics if self.record else {}


_FILES = {
    "adapter/": "the trained adapter",
    "model/": "the trained model, every weight",
    "checkpoints/": "to resume from",
    "evaluations/": "measured after training",
    "record.json": "settings, scores, versions; it exists if the run is done",
    "settings.json": "what the run computes",
    "metrics.jsonl": "loss and scores by step",
    "generations.jsonl": "answers to the sample questions",
    "accuracies.jsonl": "accuracies by subject",
    "neutral_text.jsonl": "losses of the rows of neutral text",
    "answers.jsonl": "answers for a judge",
    "failure.txt": "why the run failed",
    "log.txt": "what it printed",
    "inputs.json": "fingerprints of base and data",
    "starts.txt": "when it was started",
    "wandb/": "files of Weights & Biases",
    "wandb_id.txt": "its id at Weights & Biases",
}


def find_run(text: str, runs_folder: str = "runs") -> Path:
    """Return the folder of a run that is given by its path, or by its name in `runs_folder`.

    The beginning of a name is enough if only one run has it.

    Raises:
        RunError: if there is no such run, or several names begin so.
    """
    given = expanded(text)
    parent = expanded(runs_folder)
    for folder in (given, parent / text):
        if folder.is_dir():
            if is_run(folder):
                return folder
            raise RunError(
                f"{folder} is not a run folder: it contains no settings.json. "
                f"`anima-exp runs {folder}` lists the runs in it."
            )
    place, start = (given.parent, given.name) if "/" in text else (parent, text)
    inner = sorted(place.iterdir()) if place.is_dir() else []
    meant = [one for one in inner if one.name.startswith(start) and is_run(one)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        names = ", ".join(one.name for one in meant[:5]) + (", ..." if len(meant) > 5 else "")
        raise RunError(f"{text} may be {names}. Give more letters of the name.")
    raise RunError(f"There is no run {text}. `anima-exp runs {place}` lists the runs.")


def run_detail(folder: Path, summary: RunSummary | None = None) -> RunDetail:
    """Return all about the run in `folder`.

    Args:
        summary: its line of the list, if the caller has it.

    Raises:
        NewerFileError: if a later version of anima-exp wrote one of its files.
    """
    summary = summary or summarize(folder)
    run = with_evaluations(Runs([read_run(folder)])).runs[0]
    return RunDetail(
        summary,
        todays(run.settings),
        *_scores(run),
        run.record,
        run.failure if summary.status is Status.failed else None,
        tuple(_files(folder)),
        max(checkpoint_steps(folder), default=None),
    )


def _scores(run: Run) -> tuple[dict[str, Score], int | None]:
    """Return a finished run's scores; of another those of its first and last evaluation."""
    step = None
    if run.record is not None:
        before, after = run.scores_before, run.scores
    else:
        rows = [row for row in curves(run) if "eval_seconds" in row]
        first = [row for row in rows if row["step"] == 0]
        step = rows[-1]["step"] if rows else None
        last = [row for row in rows if step and row["step"] == step]
        before, after = _numbers(first), _numbers(last)
    names = dict.fromkeys([*after, *before])
    return {name: Score(before.get(name), after.get(name)) for name in names}, step


def _numbers(rows: list[dict[str, Any]]) -> dict[str, float]:
    return {
        name: float(value)
        for row in rows
        for name, value in row.items()
        if name not in _NOT_SCORES
        and isinstance(value, int | float)
        and not isinstance(value, bool)
    }


def _files(folder: Path) -> list[FileEntry]:
    result = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        name = f"{path.name}/" if path.is_dir() else path.name
        result.append(FileEntry(name, _size(path), _FILES.get(name, "")))
    order = [*_FILES]
    return sorted(result, key=lambda one: order.index(one.name) if one.what else len(order))


def _size(path: Path) -> int:
    """Return the bytes of a file or of a folder; 0 for what is gone meanwhile."""
    try:
        if path.is_dir():
            return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
        return path.stat().st_size
    except OSError:
        return 0
