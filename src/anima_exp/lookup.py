"""A name in a YAML file -> the Python function it names."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from importlib import import_module
from inspect import getmembers, isfunction
from types import ModuleType
from typing import Any

from anima_exp.errors import ConfigError


def function(name: str, *, among: ModuleType, key: str) -> Callable[..., Any]:
    """The function called `name` in module `among`, or at a dotted path of your own.

    `key` is where the name was written (`data.recipe`); it opens the error message.

    Raises:
        ConfigError: there is no such function, or the module cannot be found.
    """
    if "." in name:
        return _of_your_own(name, key=key)
    known = functions(among)
    if name not in known:
        hint = _hint(name, known)
        raise ConfigError(
            f"{key}={name} is not a function in {among.__name__}. {hint} "
            "To use your own, give its dotted path (my_package.my_module.my_function)."
        )
    return known[name]


def functions(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """The public functions that a module defines itself, by name."""
    return {
        name: found
        for name, found in getmembers(module, isfunction)
        if found.__module__ == module.__name__ and not name.startswith("_")
    }


def _of_your_own(path: str, *, key: str) -> Callable[..., Any]:
    name, _, attribute = path.rpartition(".")
    try:
        module = import_module(name)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{key}={path} cannot be imported: {error}. "
            "Start in the folder that holds the module, or add that folder to PYTHONPATH."
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        what = "is not a function" if hasattr(module, attribute) else "does not exist"
        raise ConfigError(f"{key}={path} {what}. {_hint(attribute, functions(module))}")
    return found  # type: ignore[no-any-return]


def closest(name: str, known: Iterable[str], *, cutoff: float = 0.75) -> str | None:
    """Return the one of `known` that `name` seems to misspell, or None if none is close enough."""
    # Two letters of eight: below it, what is suggested is rarely what was meant.
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def _hint(name: str, known: dict[str, Any]) -> str:
    if close := closest(name, known):
        return f"Did you mean '{close}'?"
    return f"Known: {', '.join(sorted(known))}." if known else "That module defines no function."
