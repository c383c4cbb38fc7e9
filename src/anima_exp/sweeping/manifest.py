"""Write sweep.json: the question of a sweep, its runs, and which of them were pruned.

The file is stored in runs/sweeps/NAME-HASH/. The hash is of the cells, so the same command uses the
same file.
"""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anima_exp.errors import RunError
from anima_exp.sweeping.cell import Cell
from anima_exp.sweeping.checks import metric
from anima_exp.sweeping.grid import Grid
from anima_exp.system import json_files
from anima_exp.system.atomic import write_json
from anima_exp.system.paths import expanded

FILE = "sweep.json"


@dataclass
class SweepFile:
    name: str  # the file in sweeps/, or `by_hand`
    question: str | None
    command: str
    grid: Grid
    about: str | None = None  # the swept key that the question is about
    published: Any = None
    stopped: dict[str, dict[str, Any]] = field(default_factory=dict)  # pruned by early stopping
    # The rungs of early stopping that each cell has reached, with the metric at each.
    reached: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    key: str | None = None  # text whose hash names the folder; None: the cells' names

    @property
    def folder(self) -> Path:
        key = self.key or "\n".join(sorted(cell.name for cell in self.grid.cells))
        return sweep_folder(self.grid.cells[0].config.runs_dir, self.name, key)

    def save(self) -> None:
        """Write the file.

        Raises:
            RunError: if it cannot be written, or a later version of anima-exp wrote it.
        """
        with suppress(OSError, ValueError):  # the file does not exist, or is damaged
            file = self.folder / FILE
            json_files.read_versioned(json_files.read_table(file), file, json_files.SWEEP)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write()
        except OSError as error:
            raise RunError(
                f"Cannot write to {self.folder}: {error.strerror}. Give another runs_dir=FOLDER."
            ) from error

    def _write(self) -> None:
        settings = self.grid.cells[0].config.sweep
        values = {
            "name": self.name,
            "question": self.question,
            "about": _setting(self.about) if self.about else None,
            "command": self.command,
            "swept": [_setting(key) for key in self.grid.swept],
            "metric": settings.metric,
            "direction": metric(self.grid.cells[0].config).direction,
            "cells": [self._cell(cell) for cell in self.grid.cells],
            "published": self.published,
            "stopped": self.stopped,
            "reached": self.reached,
        }
        write_json(self.folder / FILE, json_files.stamp(values, json_files.SWEEP))

    def _cell(self, cell: Cell) -> dict[str, Any]:
        return {
            "run": cell.name,
            "folder": os.path.relpath(cell.folder, self.folder),
            "overrides": list(cell.overrides),
        }


def sweep_folder(runs: str, name: str, key: str) -> Path:
    digest = hashlib.sha256(key.encode()).hexdigest()[:6]
    return expanded(runs, "runs_dir") / "sweeps" / f"{name}-{digest}"


def _setting(key: str) -> str:
    """Return the setting that names the chosen file of a group: `model.name` for `model`."""
    shown = {"quant": "type", "lora": "target_modules"}
    return f"{key}.{shown.get(key, 'name')}" if "." not in key and key in _GROUPS else key


_GROUPS = {"model", "data", "quant", "lora", "optimizer"}
