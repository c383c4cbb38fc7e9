"""The parts of huggingface_hub that we use although its documentation does not promise them.

They are the same in huggingface_hub 1.5 to 2.4; tests/contracts/test_huggingface_hub.py checks
every one.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def offline() -> Iterator[None]:
    """Make huggingface_hub, transformers and datasets read only their caches inside.

    They read HF_HUB_OFFLINE from the environment once, when they are imported, and keep it in
    modules of their own. If it is kept elsewhere, an unreachable hub costs minutes of retries.
    """
    from huggingface_hub import constants

    switches: list[Any] = [constants]
    if "datasets.config" in sys.modules:
        switches.append(sys.modules["datasets.config"])
    before = [one.HF_HUB_OFFLINE for one in switches]
    try:
        for one in switches:
            one.HF_HUB_OFFLINE = True
        yield
    finally:
        for one, value in zip(switches, before, strict=True):
            one.HF_HUB_OFFLINE = value


def commit_of(file: Path) -> str:
    """Return the commit of a file in the hub's cache: the name of its folder.

    It enters the names of runs on hub models.
    """
    return file.parent.name
