"""Load the runs and sweeps in folders, in any state."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from anima_exp.config import RunConfig
from anima_exp.config.former_names import FormerNames, todays
from anima_exp.errors import RunError, first_line
from anima_exp.results.record import RECORD, Record
from anima_exp.system import json_files
from anima_exp.system.atomic import read_json
from anima_exp.system.json_lines import JsonLinesLog
from anima_exp.system.paths import expanded

SWEEP = "sweep.json"
STUDY = "study.jsonl"  # in the folder of a search


class State(StrEnum):
    done = "done"
    failed = "failed"  # failure.txt says why; or the record cannot be read
    unfinished = "unfinished"  # running, interrupted, or not started yet
    stopped = "stopped"  # pruned by its sweep before the last step


@dataclass(frozen=True)
class Run:
    folder: Path
    name: str  # the folder's
    state: State
    settings: dict[str, Any]  # by dotted key; {} for a cell that was never started
    scores: dict[str, float]
    scores_before: dict[str, float]
    record: Record | None
    failure: str | None
    overrides: tuple[str, ...] = ()  # what its sweep set
    identity: dict[str, Any] | None = None  # the settings whose hash is in its name; None: unknown
    metrics: dict[str, Any] = field(default_factory=dict)  # descriptions of scores, by name

    @property
    def seed(self) -> Any:
        return self.settings.get("seed")


@dataclass(frozen=True)
class Published:
    """A table of a paper, to show next to our results."""

    source: str
    metric: str
    confirmed: bool  # checked against the paper
    rows: tuple[dict[str, Any], ...]  # settings by dotted key, and `value`
    note: str = ""


@dataclass(frozen=True)
class Sweep:
    name: str
    question: str | None
    about: str | None  # the setting that the question is about, if it is about one
    command: str
    swept: tuple[str, ...]
    metric: str | None
    direction: str | None
    published: Published | None
    stopped: dict[str, dict[str, Any]]  # by run name: step, metric, value, reason
    folder: Path
    runs: tuple[str, ...]  # names of its runs
    is_search: bool = False  # Optuna chose its cells
    reached: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # rungs, by run name


@dataclass(frozen=True)
class Runs:
    runs: list[Run]
    sweeps: list[Sweep] = field(default_factory=list)

    def done(self) -> list[Run]:
        return [run for run in self.runs if run.state is State.done]

    def counts(self) -> dict[State, int]:
        return {state: sum(run.state is state for run in self.runs) for state in State}

    @property
    def metrics(self) -> dict[str, Any]:
        """The done runs' descriptions of their scores; the first one of each score."""
        found: dict[str, Any] = {}
        for run in self.done():
            found = run.metrics | found
        return found

    @property
    def swept(self) -> list[str]:
        """The settings that the sweeps varied, each once."""
        return list(dict.fromkeys(key for sweep in self.sweeps for key in sweep.swept))


def load(paths: Sequence[Path]) -> Runs:
    """Every run in `paths`, each once.

    Raises:
        RunError: if a path is no run, no sweep and no folder of runs, a sweep cannot be read, or a
            later version of anima-exp wrote a file.
    """
    runs: dict[Path, Run] = {}
    sweeps: dict[Path, Sweep] = {}
    for path in paths:
        try:
            places = list(_places(expanded(path)))
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}.") from error
        for place in places:
            if _is_run(place):
                runs.setdefault(place, read_run(place))
            elif place not in sweeps:
                sweeps[place], cells = _read_sweep(place)
                # If a run was also given on its own, its sweep knows more about it.
                runs |= {run.folder: run for run in cells}
    return Runs(list(runs.values()), list(sweeps.values()))


def read_run(
    folder: Path, *, name: str = "", overrides: Sequence[str] = (), stopped: bool = False
) -> Run:
    """Return the run in `folder`, which may not exist. A damaged file makes it a failed run."""
    settings: dict[str, Any] = {}
    identity: dict[str, Any] | None = None
    record, failure, state = None, None, State.unfinished
    try:
        if (folder / RECORD).is_file():
            record = _record(folder)
            state, settings = State.done, record.settings
            identity = _identity(folder)
            identity = None if identity is None else todays(identity)
        elif (folder / "settings.json").is_file():
            identity = todays(_settings(folder))
            settings = identity
    except (OSError, ValueError, TypeError, AttributeError) as error:
        file = RECORD if (folder / RECORD).is_file() else "settings.json"
        reason = first_line(error)
        failure, state = f"{file} cannot be read: {reason}", State.failed
    if state is State.unfinished and stopped:
        state = State.stopped
    elif state is State.unfinished and (folder / "failure.txt").is_file():
        failure, state = _text(folder / "failure.txt"), State.failed
    return Run(
        folder=folder,
        name=name or folder.name,
        state=state,
        settings=settings,
        scores=record.scores if record else {},
        scores_before=record.scores_before if record else {},
        record=record,
        failure=failure,
        overrides=tuple(overrides),
        identity=identity,
        metrics=record.metrics if record else {},
    )


def curves(run: Run) -> list[dict[str, Any]]:
    """Return metrics.jsonl: training rows have `loss`, evaluations `eval_seconds`."""
    return _rows(run.folder / "metrics.jsonl")


def generations(run: Run) -> list[dict[str, Any]]:
    """Return generations.jsonl: step, prompt, response."""
    return _rows(run.folder / "generations.jsonl")


def _places(path: Path) -> Iterator[Path]:
    """Yield the run and sweep folders that `path` names or contains, resolved."""
    folder = (path.parent if path.name == SWEEP and path.is_file() else path).resolve()
    if _is_run(folder) or _is_sweep(folder):
        yield folder
        return
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise RunError(f"{path} {problem}. Give run folders, a sweep's folder, or runs/.")
    inner = sorted(place for place in folder.iterdir() if place.is_dir())
    # A folder of runs or, from `runs/*`, the folder of all sweeps.
    found = [p for p in inner if _is_run(p)] or [p for p in inner if _is_sweep(p)]
    if not found:
        raise RunError(f"{path} holds no run and no sweep. Give run folders, a sweep's, or runs/.")
    yield from (place.resolve() for place in found)


def _is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("settings.json", RECORD))


def _is_sweep(folder: Path) -> bool:
    return (folder / SWEEP).is_file()


def _read_sweep(folder: Path) -> tuple[Sweep, list[Run]]:
    try:
        file = folder / SWEEP
        values = json_files.read_versioned(_table(read_json(file)), file, json_files.SWEEP)
        names = FormerNames(RunConfig)
        stopped = {run: _table(stop) for run, stop in (values.get("stopped") or {}).items()}
        cells = [
            read_run(
                (folder / cell["folder"]).resolve(),
                name=cell["run"],
                overrides=[names.override(one) for one in cell.get("overrides", ())],
                stopped=cell["run"] in stopped,
            )
            for cell in values["cells"]
        ]
        table = values.get("published")
        about = values.get("about")
        sweep = Sweep(
            name=values["name"],
            question=values.get("question"),
            about=names.key(about) if about else None,
            command=values["command"],
            swept=tuple(map(names.key, values["swept"])),
            metric=values.get("metric"),
            direction=values.get("direction"),
            published=_published(table) if table else None,
            stopped=stopped,
            folder=folder,
            runs=tuple(run.name for run in cells),
            is_search=(folder / STUDY).is_file(),
            reached={run: list(found) for run, found in (values.get("reached") or {}).items()},
        )
    except KeyError as error:
        raise RunError(f"{folder / SWEEP} has no {error}. {_AGAIN}") from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        reason = first_line(error)
        raise RunError(f"{folder / SWEEP} cannot be read: {reason}. {_AGAIN}") from error
    return sweep, cells


_AGAIN = "Run the sweep's command again to write a new one, or give the run folders."


def _published(values: dict[str, Any]) -> Published:
    return Published(
        source=values["source"],
        metric=values["metric"],
        confirmed=values.get("confirmed", False),
        rows=tuple({"value": row["value"], **todays(row)} for row in values["rows"]),
        note=values.get("note") or "",
    )


def _record(folder: Path) -> Record:
    record = Record.read(folder)
    _table(record.settings)
    for name, score in _table(record.scores).items():
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if not number or not math.isfinite(score):
            raise ValueError(f"its {name} is {json.dumps(score)}, not a number")
    return record


def _identity(folder: Path) -> dict[str, Any] | None:
    """Return settings.json, or None: to compare a done run its record is enough."""
    try:
        return _settings(folder)
    except (OSError, ValueError, TypeError):
        return None


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / "settings.json"
    return json_files.read_versioned(_table(read_json(file)), file, json_files.SETTINGS)


def _table(values: object) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise TypeError(f"it holds {json.dumps(values)[:40]} where a table should be")
    return values


def _rows(path: Path) -> list[dict[str, Any]]:
    return [row for row in JsonLinesLog(path).rows() if isinstance(row, dict)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"
