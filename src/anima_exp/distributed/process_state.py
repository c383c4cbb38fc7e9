"""Borrow the state of the whole process while a model computes, and restore it afterwards.

Random generators, warning filters, log levels and environment variables belong to the whole
process. So if several threads of a process call this package, one of them computes at a time.
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

# Variables that this package or its libraries set, and that are read once.
_VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "DNNL_PRIMITIVE_CACHE_CAPACITY",
    "LRU_CACHE_CAPACITY",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
    "TORCHINDUCTOR_CACHE_DIR",
    *OF_GPU_MEMORY,
)
_POLL_SECONDS = 0.2

_lock = threading.Lock()
_owner: int | None = None  # the thread that holds it


@contextmanager
def borrowed(stop: StopRequest | None = None) -> Iterator[None]:
    """Let only this thread compute inside, without the known warnings of libraries.

    Raises:
        RunInterrupted: if `stop` was requested while another thread computed.
        RunError: if this thread already computes, and a listener of events called this.
    """
    global _owner
    _acquire(stop)
    before: dict[str, str | None] = {}
    try:
        _owner = threading.get_ident()
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
        _owner = None
        _lock.release()


@contextmanager
def _products_restored() -> Iterator[None]:
    """Restore torch's setting for fp32 products afterwards; a run sets it to TF32."""

    def backends() -> Any:
        return getattr(sys.modules.get("torch"), "backends", None)

    before = getattr(backends(), "fp32_precision", "none")
    try:
        yield
    finally:
        if getattr(backends(), "fp32_precision", before) != before:
            backends().fp32_precision = before


def _acquire(stop: StopRequest | None) -> None:
    if _lock.acquire(blocking=False):
        return
    if _owner == threading.get_ident():
        raise RunError(
            "This thread is already computing a run, and a listener of its events cannot start "
            "another. Start it after the first has ended."
        )
    say("waiting: this process computes another run first")
    while not _lock.acquire(timeout=_POLL_SECONDS):
        if stop:
            stop.check("while it waited for another run of this process.")
