"""What was measured after a run had ended -> more of its scores: evaluations and tournaments."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from anima_exp.compare.runs import Run, Runs
from anima_exp.errors import DataError
from anima_exp.results.files import read_json

_SAME = ("model.source", "model.revision", "quant.", "lora.", "data.", "trainer.precision")


def with_evaluations(runs: Runs) -> Runs:
    """Scores that `python -m anima_exp.evaluate run=FOLDER` has left in the runs' folders.

    Only of the model as it was trained: measured in another quantisation, or on other rows, it is
    something else. Where the run has measured the same itself, its own figure stays.
    """
    return replace(runs, runs=[_evaluated(run) for run in runs.runs])


def with_ratings(runs: Runs, file: Path) -> Runs:
    """Elo and the like, from what `python -m anima_exp.elo --out FILE` wrote.

    A player is the run of its name, or whose folder has its name. Players that are no run are told.

    Raises:
        DataError: the file is not such a one.
    """
    try:
        scores: dict[str, dict[str, float]] = read_json(file)["scores"]
        by_player = {player: dict(found) for player, found in scores.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"--ratings {file}: not what python -m anima_exp.elo --out FILE writes."
        ) from error
    names = {name for run in runs.runs for name in _names(run)}
    if others := sorted(by_player.keys() - names):
        told = f"{len(others)} of {len(by_player)} players are none of these runs"
        print(f"anima_exp: {file}: {told}: {', '.join(others)}.", file=sys.stderr)
    rated = []
    for run in runs.runs:
        found = next((by_player[name] for name in _names(run) if name in by_player), {})
        rated.append(replace(run, scores=run.scores | found))
    return replace(runs, runs=rated)


def _names(run: Run) -> tuple[str, ...]:
    return (run.name, run.record.name) if run.record else (run.name,)


def _evaluated(run: Run) -> Run:
    folder = run.folder / "evaluations"
    if run.record is None or not folder.is_dir():
        return run
    found: list[tuple[str, dict[str, float]]] = []
    for file in sorted(folder.glob("*.json")):
        try:
            result = read_json(file)
            if _same_model(result["settings"], run.settings):
                found.append((result["finished"], result["scores"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(f"anima_exp: {file} is left out, it cannot be read: {error}", file=sys.stderr)
    scores: dict[str, float] = {}
    for _, measured in sorted(found, key=lambda one: one[0]):
        scores |= measured
    return replace(run, scores=scores | run.scores)


def _same_model(measured: Mapping[str, Any], trained: Mapping[str, Any]) -> bool:
    return measured.get("adapter") is None and all(
        measured.get(key) == value for key, value in trained.items() if key.startswith(_SAME)
    )
