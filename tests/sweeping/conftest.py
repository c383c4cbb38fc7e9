"""Sweeps of stand-in runs, started as a user would: in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"


class Started(subprocess.Popen):
    """A sweep in the background; `told()` is what it has printed."""

    def __init__(self, arguments, *, folder, env, log) -> None:
        self._log = folder / log
        with self._log.open("w") as file:
            super().__init__(
                [sys.executable, str(SUPPORT / "stand_in_train.py"), *arguments],
                cwd=folder, env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def told(self) -> str:
        return self._log.read_text()


class Sweeps:
    """`sweeps.run("seed=0,1")` in a folder of its own; what it left is under `runs`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self._count = 0

    def start(self, *overrides: str, step_seconds: float = 0.01, **env: str) -> "Started":
        own = {
            "PYTHONPATH": str(SUPPORT), "STAND_IN_STEP_SECONDS": str(step_seconds),
            "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200", "TMPDIR": str(self.folder),
        }  # fmt: skip
        self._count += 1
        return Started(
            ["-m", "trainer.max_steps=9", *overrides],
            folder=self.folder, env=os.environ | own | env, log=f"told-{self._count}.txt",
        )  # fmt: skip

    def run(self, *overrides: str, **how) -> tuple[int, str]:
        started = self.start(*overrides, **how)
        return started.wait(120), started.told()

    def records(self) -> dict[str, dict]:
        return {
            path.parent.name: json.loads(path.read_text())
            for path in self.runs.glob("*/record.json")
        }

    def sweep_files(self) -> list[dict]:
        return [json.loads(p.read_text()) for p in self.runs.glob("sweeps/*/sweep.json")]


@pytest.fixture
def sweeps(tmp_path) -> Sweeps:
    return Sweeps(tmp_path)
