"""Look up the Python function or object that a name in a YAML file stands for."""

import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from inspect import getmembers, isfunction
from pathlib import Path
from types import ModuleType
from typing import Any

from anima_exp.errors import ConfigError, first_line

_START = "Start in the folder that holds the module, or add that folder to PYTHONPATH."
_OWN = "To use your own, give its dotted path (my_package.my_module.my_function)."


def function(name: str, *, among: ModuleType, key: str) -> Callable[..., Any]:
    """Return the function `name` of module `among`, or the function at a dotted path of your own.

    Args:
        name: the function's name, or a dotted path.
        among: the module that is searched for a plain name.
        key: the setting that holds the name (`data.recipe`); it opens the error message.

    Raises:
        ConfigError: if there is no such function, or the module cannot be imported.
    """
    if "." in name:
        return _callable(own(name, key=key), name, key=key)
    known = functions(among)
    if name not in known:
        hint = _hint(name, known)
        raise ConfigError(f"{key}={name} is not a function in {among.__name__}. {hint} {_OWN}")
    return known[name]


def entry(name: str, *, among: Mapping[str, Any], what: str, key: str) -> Any:
    """Return the entry `name` of `among`, or the object at a dotted path of your own.

    Args:
        what: what such an entry is called, in the error message: `format`.
        key: the setting that names it.

    Raises:
        ConfigError: if there is no such entry, or the module cannot be imported.
    """
    if "." in name:
        return own(name, key=key)
    if name not in among:
        raise ConfigError(f"{key}={name}: there is no such {what}. {_hint(name, among)} {_OWN}")
    return among[name]


def functions(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Return the public functions that a module defines itself, by name."""
    return {
        name: member
        for name, member in getmembers(module, isfunction)
        if member.__module__ == module.__name__ and not name.startswith("_")
    }


def own(path: str, *, key: str) -> Any:
    """Import the module of a dotted path and return the object that the path names.

    Raises:
        ConfigError: if the module cannot be imported, or it has no such object.
    """
    name, _, attribute = path.rpartition(".")
    try:
        module = import_module(name)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{key}={path} cannot be imported: {error}. {_START}") from error
    except Exception as error:  # any mistake in the module itself
        raise ConfigError(
            f"{key}={path} cannot be imported: {_fault(error)}. Correct the module."
        ) from error
    if not hasattr(module, attribute):
        raise ConfigError(f"{key}={path} does not exist. {_hint(attribute, functions(module))}")
    return getattr(module, attribute)


def check_importable(path: str, *, key: str) -> None:
    """Raise ConfigError if the module of a dotted path does not exist; import only its parents."""
    name, _, attribute = path.rpartition(".")
    try:
        spec = find_spec(name) if name and attribute else None
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{key}={path} cannot be imported: {error}. {_START}") from error
    except Exception as error:
        raise ConfigError(
            f"{key}={path} cannot be imported: {_fault(error)}. Correct the module."
        ) from error
    if spec is None and name not in sys.modules:
        what = f"No module named '{name}'" if name else "a dotted path is MODULE.FUNCTION"
        raise ConfigError(f"{key}={path} cannot be imported: {what}. {_START}")


def _callable(value: object, path: str, *, key: str) -> Callable[..., Any]:
    if not callable(value):
        name, _, attribute = path.rpartition(".")
        hint = _hint(attribute, functions(sys.modules[name]))
        raise ConfigError(f"{key}={path} is not a function. {hint}")
    return value


def _fault(error: Exception) -> str:
    """Return such a text: `NameError: name 'x' is not defined (my_module.py, line 3)`."""
    text = f"{type(error).__name__}: {first_line(error)}".rstrip(".")
    if isinstance(error, SyntaxError):  # whose text names the file and the line
        return text
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


def closest(name: str, known: Iterable[str], *, cutoff: float = 0.75) -> str | None:
    """Return the one of `known` that `name` seems to misspell, or None if none is close enough."""
    # Two letters of eight: below it, what is suggested is rarely what was meant.
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def _hint(name: str, known: Mapping[str, Any]) -> str:
    if close := closest(name, known):
        return f"Did you mean '{close}'?"
    return f"Known: {', '.join(sorted(known))}." if known else "That module defines no function."
