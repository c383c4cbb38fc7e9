"""Write the page of the Python API: what `anima_exp.__all__` has, for mkdocstrings to fill in."""

import inspect
from collections.abc import Iterator

import anima_exp
from anima_exp.reference import markdown


def api_page() -> str:
    """Return the page in Markdown. mkdocstrings replaces each `:::` by a docstring."""
    return markdown.page("Python API", _lines())


def public() -> dict[str, list[str]]:
    """Return the public names by their kind: functions in the order of their definition."""
    kinds: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": [], "Modules": []}
    for name in getattr(anima_exp, "__all__", ()):
        value = getattr(anima_exp, name)
        if inspect.ismodule(value):
            kinds["Modules"].append(name)
        elif inspect.isclass(value):
            kinds["Errors" if issubclass(value, BaseException) else "Classes"].append(name)
        elif callable(value):
            kinds["Functions"].append(name)
    kinds["Functions"].sort(key=_place)
    return {kind: names for kind, names in kinds.items() if names}


def _place(function: str) -> tuple[str, int]:
    value = getattr(anima_exp, function)
    return value.__module__, value.__code__.co_firstlineno


def _lines() -> Iterator[str]:
    yield (
        "Everything that a command does, a function does for Python. Nothing here prints, unless "
        "you ask for it. Importing the package takes less than 50 ms: libraries are loaded when "
        "they are needed."
    )
    yield ""
    yield from markdown.block("import anima_exp as ax", "python")
    for kind, names in public().items():
        yield ""
        yield f"## {kind}"
        for name in names:
            yield ""
            yield f"::: {_defined_as(name)}"


def _defined_as(name: str) -> str:
    """Return where a public name is defined, which mkdocstrings reads without importing it."""
    value = getattr(anima_exp, name)
    if inspect.ismodule(value):
        return value.__name__
    return f"{value.__module__}.{value.__qualname__}"
