"""The parts of submitit, and of Hydra's launcher on it, that we use without their promise.

They are those of submitit 1.5 and hydra-submitit-launcher 1.2. tests/contracts/test_submitit.py
checks every one. Nothing of the library is imported before a sweep uses its launcher.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def starts_jobs_of(launcher: object) -> bool:
    """Return whether `launcher` is Hydra's on submitit, by the name of its module."""
    return "hydra_submitit_launcher" in type(launcher).__module__


@contextmanager
def results_through(patient: Callable[[Callable[[Any], Any], Any], Any]) -> Iterator[None]:
    """Make the launcher call `patient(get, job)` inside where it would get a job's results.

    The launcher's own loop over `submitit.Job.results` ends with the first job that died, and it
    has no setting for that. If the launcher gets results in another way, a sweep
    ends there again.
    """
    owner = import_module("submitit").Job
    original = owner.results
    owner.results = lambda job: patient(original, job)
    try:
        yield
    finally:
        owner.results = original


def reason(text: str) -> str:
    """Return the part of an error's text that says why a job died; any other text as it is.

    submitit has no attributes for it. A text that a release changes is shown as it is.
    """
    if state := re.search(r"has not produced any output \(state: ([^)]+)\)", text):
        return state[1]
    parts = re.split(r"\n-{20,}\n", text)  # what it is, the traceback, where the logs are
    return parts[min(1, len(parts) - 1)].strip()
