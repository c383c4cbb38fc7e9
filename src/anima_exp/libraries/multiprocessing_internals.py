"""The parts of multiprocessing that we use although its documentation does not promise them.

Each function says what it uses. tests/contracts/test_multiprocessing.py checks every one.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from types import ModuleType
from typing import Any

_server: Any = forkserver._forkserver
_tracker: Any = resource_tracker._resource_tracker


@contextmanager
def helpers_ended() -> Iterator[None]:
    """End multiprocessing's helper processes afterwards, unless they ran before.

    These are the fork server and the resource tracker, which otherwise live as long as this
    process. The modules that the fork server imports are restored too. It uses `_stop` of both,
    and `_preload_modules`.
    """
    server_ran, tracker_ran = _server._forkserver_pid is not None, _tracker._fd is not None
    preload = _server._preload_modules
    try:
        yield
    finally:
        if not server_ran:
            _server._stop()
        if not tracker_ran:
            _tracker._stop()
        _server._preload_modules = preload


@contextmanager
def main_not_imported() -> Iterator[None]:
    """Let processes that start inside begin without the user's main module.

    multiprocessing imports `__main__` in each process that it starts, so that a script without
    `if __name__ == "__main__":` would start itself again and again. Our processes need nothing of
    it. It uses that a `__main__` without a file and without a spec is not imported.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
