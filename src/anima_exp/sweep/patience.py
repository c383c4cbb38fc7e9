"""Waits for all jobs of a cluster's launcher, whatever becomes of the first.

The launchers for Slurm and Ray ask their jobs for results one after the other, and leave with the
error of the first whose process died. The jobs after it go on, and nobody would see how they end.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from hydra.plugins.launcher import Launcher


@contextmanager
def every_job_awaited(launcher: Launcher) -> Iterator[dict[int, str]]:
    """What is said of the jobs that died comes into the dict given, by their numbers from 0."""
    died: dict[int, str] = {}
    module = type(launcher).__module__
    if "hydra_submitit_launcher" in module:
        owner, name = import_module("submitit").Job, "results"
        ask = original = owner.results
    elif "hydra_ray_launcher" in module:
        owner, name = import_module("hydra_plugins.hydra_ray_launcher._core"), "ray"
        original = owner.ray
        ask = original.get
    else:
        yield died
        return
    asked = iter(range(10**9))

    def patient(job: Any) -> Any:
        number = next(asked)
        try:
            return ask(job)
        except Exception as error:
            died[number] = last_words(error)
            return [None]

    setattr(owner, name, patient if name == "results" else SimpleNamespace(get=patient))
    try:
        yield died
    finally:
        setattr(owner, name, original)


def last_words(error: Exception) -> str:
    """One line of an error that may hold a whole log."""
    text = str(error).strip()
    if state := re.search(r"has not produced any output \(state: (\w+)\)", text):
        return state[1]
    parts = re.split(r"\n-{20,}\n", text)  # submitit: what it is, the traceback, where the logs are
    lines = parts[min(1, len(parts) - 1)].strip().splitlines()
    return lines[-1] if lines else type(error).__name__
