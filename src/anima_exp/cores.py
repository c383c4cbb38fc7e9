"""The machine -> the processor cores that this process may use."""

import os
from collections.abc import Mapping


def cores() -> int:
    """A cluster's job has a share of the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_are_chosen(environment: Mapping[str, str]) -> bool:
    """Whether the user has set how many threads torch uses: then no process overrides it."""
    return any(environment.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))
