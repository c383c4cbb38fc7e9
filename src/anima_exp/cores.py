"""The machine -> the processor cores that this process may use."""

import os


def cores() -> int:
    """A cluster's job has a share of the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
