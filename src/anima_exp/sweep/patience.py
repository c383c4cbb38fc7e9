"""Waits for all jobs of a cluster's launcher, whatever becomes of the first.

The launchers for Slurm and Ray ask their jobs for results one after the other, and leave with the
error of the first whose process died. The jobs after it go on, and nobody would see how they end.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hydra.plugins.launcher import Launcher

from anima_exp.libraries import ray_internals, submitit_internals


@contextmanager
def every_job_awaited(launcher: Launcher) -> Iterator[dict[int, str]]:
    """What is said of the jobs that died comes into the dict given, by their numbers from 0."""
    died: dict[int, str] = {}
    asked = iter(range(10**9))

    def patient(ask: Callable[[Any], Any], job: Any) -> Any:
        number = next(asked)
        try:
            return ask(job)
        except Exception as error:
            died[number] = last_words(error)
            return [None]

    for library in (submitit_internals, ray_internals):
        if library.starts_jobs_of(launcher):
            with library.asked_through(patient):
                yield died
            return
    yield died


def last_words(error: Exception) -> str:
    """One line of an error that may hold a whole log."""
    lines = submitit_internals.reason(str(error).strip()).splitlines()
    return lines[-1] if lines else type(error).__name__
