"""What a process has only one of: borrowed while a model computes, and given back as it was.

Random generators, warning filters, log levels and environment variables belong to the whole
process. So of several calls of one process, each in a thread of its own, one computes at a time.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anima_exp.errors import RunError
from anima_exp.events import say
from anima_exp.libraries.quiet import libraries_quiet
from anima_exp.system.hardware import VARIABLES as OF_GPU_MEMORY
from anima_exp.system.hardware import use_expandable_segments
from anima_exp.system.signals import StopRequest

# Written by us or by a library of ours; read once, by what is imported or computed first.
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "DNNL_PRIMITIVE_CACHE_CAPACITY",
    "LRU_CACHE_CAPACITY",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
    "TORCHINDUCTOR_CACHE_DIR",
    *OF_GPU_MEMORY,
)
_LOOK_SECONDS = 0.2

_turn = threading.Lock()
_whose: int | None = None  # the thread that has it


@contextmanager
def borrowed(stop: StopRequest | None = None) -> Iterator[None]:
    """Inside, this thread computes, and warnings of libraries that we know of are not shown.

    Raises:
        Stopped: `stop` was requested while another thread computed.
        RunError: this thread computes already: a listener of events has called us.
    """
    global _whose
    _wait_for_turn(stop)
    before: dict[str, str | None] = {}
    try:
        _whose = threading.get_ident()
        before = {name: os.environ.get(name) for name in _VARIABLES}
        use_expandable_segments()
        with libraries_quiet(), _products_restored():
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _whose = None
        _turn.release()


@contextmanager
def _products_restored() -> Iterator[None]:
    """Afterwards torch computes products of fp32 numbers as before: a run lets them be TF32."""

    def backends() -> Any:
        return getattr(sys.modules.get("torch"), "backends", None)

    before = getattr(backends(), "fp32_precision", "none")
    try:
        yield
    finally:
        if getattr(backends(), "fp32_precision", before) != before:
            backends().fp32_precision = before


def _wait_for_turn(stop: StopRequest | None) -> None:
    if _turn.acquire(blocking=False):
        return
    if _whose == threading.get_ident():
        raise RunError(
            "This thread is already computing a run, and a listener of its events cannot start "
            "another. Start it after the first has ended."
        )
    say("waiting: this process computes another run first")
    while not _turn.acquire(timeout=_LOOK_SECONDS):
        if stop:
            stop.check("while it waited for another run of this process.")
