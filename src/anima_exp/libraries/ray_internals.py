"""The part of Hydra's launcher on Ray that we use without its promise.

It is that of hydra-ray-launcher 1.2; tests/contracts/test_ray.py checks it where Ray is installed
(make test-ray). Nothing of the library is imported before a sweep uses its launcher.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace
from typing import Any


def starts_jobs_of(launcher: object) -> bool:
    """Return whether `launcher` is Hydra's on Ray, by the name of its module."""
    return "hydra_ray_launcher" in type(launcher).__module__


@contextmanager
def results_through(patient: Callable[[Callable[[Any], Any], Any], Any]) -> Iterator[None]:
    """Make the launcher call `patient(get, job)` inside where it would get a job's results.

    The launcher's own loop over `ray.get` ends with the first job that died. It is in the module
    `_core`, whose name `ray` is replaced. If the launcher gets results in another way, a sweep
    ends there again.
    """
    owner: Any = import_module("hydra_plugins.hydra_ray_launcher._core")
    original = owner.ray
    owner.ray = SimpleNamespace(get=lambda job: patient(original.get, job))
    try:
        yield
    finally:
        owner.ray = original
