"""The parts of trackio that we use although its documentation does not promise them.

tests/contracts/test_trackio.py checks every one where trackio is installed. Nothing of the library
is imported before a run uses it.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

_speaking = threading.Lock()


def logs_of(run: Any) -> Sequence[Mapping[str, Any]]:
    """Return every row that trackio's storage on this machine has of a run, each with its step.

    Raises:
        ImportError, AttributeError, TypeError: if this version of trackio keeps them elsewhere.
    """
    from trackio.sqlite_storage import SQLiteStorage

    result: Sequence[Mapping[str, Any]] = SQLiteStorage.get_logs(
        run.project, run.name, run_id=run.id
    )
    return result


def next_step(run: Any) -> int:
    """Return the step that trackio would give the next row: `Run._next_step`."""
    return int(run._next_step)


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Silence what trackio prints, and collect its warnings, which are all that it raises.

    sys.stdout and the warning filters belong to the whole process, and the run prints while this
    thread waits for a server. So trackio's modules get a `print` of their own.
    """
    problems: list[str] = []
    modules = [import_module(name) for name in ("trackio", "trackio.run", "trackio.utils")]
    names = {
        "print": lambda *_, **__: None,
        "_emit_nonfatal_warning": lambda message, *_, **__: problems.append(str(message)),
    }
    with _speaking:
        before = [
            (module, {name: vars(module)[name] for name in names if name in vars(module)})
            for module in modules
        ]
        try:
            for module in modules:
                vars(module).update(names)
            yield problems
        finally:
            for module, had in before:
                for name in names:
                    vars(module).pop(name, None)
                vars(module).update(had)
