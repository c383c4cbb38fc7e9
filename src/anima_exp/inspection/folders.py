"""Find the run folders that a path stands for, and which of them a sweep has pruned."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anima_exp.errors import NewerFileError, RunError, first_line
from anima_exp.system import json_files

RECORD, SETTINGS, FAILURE, SWEEP = "record.json", "settings.json", "failure.txt", "sweep.json"
_SWEEPS = "sweeps"  # the folder of sweeps in a folder of runs


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run's, be it one that failed before it wrote its settings."""
    return any((folder / name).is_file() for name in (SETTINGS, RECORD, FAILURE))


def run_folders(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yield the run folders that `folder` stands for, each with why its sweep pruned it.

    Args:
        folder: a folder of runs, of a sweep, of several sweeps, or of one run.

    Raises:
        RunError: if there is no such folder, or it holds neither a run nor a sweep.
    """
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise RunError(f"{folder} {problem}. Give a folder of runs, a sweep's folder, or a run's.")
    if (folder / SWEEP).is_file():
        yield from _cells(folder)
        return
    if is_run(folder):
        yield folder, None
        return
    inner = sorted(Path(one.path) for one in os.scandir(folder) if one.is_dir())
    sweeps = [one for one in inner if (one / SWEEP).is_file()]
    if sweeps:  # `runs/sweeps`
        yield from dict(cell for sweep in sweeps for cell in _cells(sweep)).items()
        return
    pruned = _pruned(folder / _SWEEPS)
    runs = [one for one in inner if is_run(one)]
    if not runs and not (folder / _SWEEPS).is_dir():
        raise RunError(
            f"{folder} holds no run and no sweep. Give a folder of runs, a sweep's folder, or a "
            "run's."
        )
    yield from ((one, pruned.get(one.name)) for one in runs)


def _cells(sweep: Path) -> Iterator[tuple[Path, str | None]]:
    try:
        values = _read_sweep(sweep / SWEEP)
        folders = [sweep / str(cell["folder"]) for cell in values["cells"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{sweep / SWEEP} cannot be read: {first_line(error)}. The sweep's command writes it "
            "again; or give the folder of the runs."
        ) from error
    pruned = _reasons(values)
    for folder in folders:
        place = Path(os.path.normpath(folder))
        if place.is_dir() and is_run(place):  # a cell that has not started yet has no folder
            yield place, pruned.get(place.name)


def _pruned(sweeps: Path) -> dict[str, str]:
    """Return why a sweep ended a run early, by the run's name, from all sweeps in a folder."""
    result: dict[str, str] = {}
    if not sweeps.is_dir():
        return result
    for file in sorted(sweeps.glob(f"*/{SWEEP}")):
        try:
            result |= _reasons(_read_sweep(file))
        except (OSError, ValueError, NewerFileError):
            continue  # `anima-exp compare` says what is wrong with it
    return result


def _reasons(sweep: Mapping[str, Any]) -> dict[str, str]:
    stopped = sweep.get("stopped")
    if not isinstance(stopped, dict):
        return {}
    return {
        name: f"at step {stop.get('step')}: {stop.get('reason')}"
        for name, stop in stopped.items()
        if isinstance(stop, dict)
    }


def _read_sweep(file: Path) -> dict[str, Any]:
    return json_files.read_versioned(json_files.read_table(file), file, json_files.SWEEP)
