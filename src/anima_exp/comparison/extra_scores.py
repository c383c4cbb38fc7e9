"""Add scores that were measured after a run had finished: evaluations and ratings."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anima_exp.comparison.runs import Run, Runs
from anima_exp.config.former_names import whole
from anima_exp.errors import DataError
from anima_exp.evals.score_names import group
from anima_exp.events import warn
from anima_exp.system import json_files
from anima_exp.system.atomic import read_json

_SAME = ("model.source", "model.revision", "quant.", "lora.", "data.", "trainer.precision")


def with_evaluations(runs: Runs) -> Runs:
    """Add the scores that `anima-exp evaluate run=FOLDER` stored in the run folders.

    Only scores of the model as trained count: another quantization or other rows give another
    score. Scores that the run measured itself are kept.
    """
    return replace(runs, runs=[_evaluated(run) for run in runs.runs])


def with_ratings(runs: Runs, file: Path) -> Runs:
    """Add ratings, such as Elo, from the file that `anima-exp elo out=FILE` wrote.

    A player is the run with its name, or the run whose folder has its name. A warning lists players
    that are none of the runs.

    Raises:
        DataError: if the file is not such a one.
        NewerFileError: if a later version of anima-exp wrote it.
    """
    try:
        values = json_files.read_versioned(read_json(file), file, json_files.RATINGS)
        scores: dict[str, dict[str, float]] = values["scores"]
        by_player = {player: dict(found) for player, found in scores.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"ratings={file}: not what anima-exp elo out=FILE writes.") from error
    names = {name for run in runs.runs for name in _names(run)}
    if others := sorted(by_player.keys() - names):
        unknown = f"{len(others)} of {len(by_player)} rated players are not among these runs"
        warn(f"{file}: {unknown}: {', '.join(others)}.")
    rated = []
    times = Counter(name for run in runs.runs for name in set(_names(run)))
    for name in sorted(name for name in by_player if times[name] > 1):
        warn(f"{file}: {times[name]} runs are called {name}; none of them is rated.")
    for run in runs.runs:
        own = [name for name in _names(run) if name in by_player and times[name] == 1]
        found = by_player[own[0]] if own else {}
        rated.append(replace(run, scores=run.scores | found))
    return replace(runs, runs=rated)


def _names(run: Run) -> tuple[str, ...]:
    return (run.name, run.record.name) if run.record else (run.name,)


def _evaluated(run: Run) -> Run:
    folder = run.folder / "evaluations"
    if run.record is None or not folder.is_dir():
        return run
    found: list[tuple[str, dict[str, Any]]] = []
    for file in sorted(folder.glob("*.json")):
        try:
            result = json_files.read_versioned(read_json(file), file, json_files.EVALUATION)
            if result["trained"] == run.record.finished and _same_model(
                whole(result["settings"]), run.settings
            ):
                found.append((result["finished"], result))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            warn(f"{file} is left out, it cannot be read: {error}")
    scores: dict[str, float] = {}
    how: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    for _, result in sorted(found, key=lambda one: one[0]):
        metrics |= result.get("metrics") or {}
        for name, score in result["scores"].items():
            settings_used = _eval_settings(name, whole(result["settings"]))
            if how.setdefault(name, settings_used) != settings_used:
                warn(f"{run.folder}: {name} was measured in several ways; the newest counts.")
            scores[name], how[name] = score, settings_used
    return replace(run, scores=scores | run.scores, metrics=metrics | run.metrics)


def _same_model(measured: Mapping[str, Any], trained: Mapping[str, Any]) -> bool:
    return measured.get("adapter") is None and all(
        measured.get(key) == value for key, value in trained.items() if key.startswith(_SAME)
    )


def _eval_settings(score: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the eval that gives a score: evals.mmlu.* of mmlu_micro."""
    start = f"{group(score, settings)}."
    return {
        key: value
        for key, value in settings.items()
        if key.startswith(start) and not key.endswith(("batch_size", "batch_tokens"))
    }
