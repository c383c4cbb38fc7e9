"""Give runs settings that are equal exactly where their names count them as equal.

A run's name does not depend on where a file lies, but on what it holds; it ignores the adapter's
settings in full fine-tuning; and an eval is part of it as soon as it is on. settings.json holds
the settings as the name counts them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from anima_exp.compare.runs import Run
from anima_exp.compare.settings import comparable
from anima_exp.results.identity import enters_name

_ABSENT = object()
_TABLES = ("benchmarks", "custom")  # in evals: of the user's own, by name


def as_named(runs: Sequence[Run]) -> list[Run]:
    evals = _evals(runs)
    shown = _shown(runs)
    return [replace(run, settings=_settings(run, evals, shown)) for run in runs]


def _settings(run: Run, evals: Sequence[str], shown: dict[str, dict[Any, Any]]) -> dict[str, Any]:
    if not run.settings:
        return {}
    ignored = run.identity is not None
    found = {
        key: value
        for key, value in run.settings.items()
        if not (ignored and enters_name(key) and key not in run.identity)  # type: ignore[operator]
    }
    for key, texts in shown.items():
        if key in found:
            found[key] = texts.get(comparable(_counted(run, key)), found[key])
    on = _on(run)
    found |= {name: name in on for name in evals}
    return found


def _counted(run: Run, key: str) -> Any:
    """Return a setting as the name counts it: a hash for what is in a file."""
    value = run.settings.get(key, _ABSENT)
    return value if run.identity is None else run.identity.get(key, value)


def _shown(runs: Sequence[Run]) -> dict[str, dict[Any, Any]]:
    """Return, for each setting that counts by content, its text for each content.

    One content in two places has one text. Two contents that were at one place in turn are told
    apart by the start of their hashes.
    """
    keys = {
        key: None
        for run in runs
        for key, counted in (run.identity or {}).items()
        if run.settings.get(key, counted) != counted
    }
    found: dict[str, dict[Any, Any]] = {}
    for key in keys:
        texts: dict[Any, Any] = {}
        for run in runs:
            if key in run.settings and run.settings[key] != _counted(run, key):
                texts.setdefault(comparable(_counted(run, key)), run.settings[key])
        places = list(texts.values())
        found[key] = {
            counted: f"{text} ({_start(counted)})" if places.count(text) > 1 else text
            for counted, text in texts.items()
        }
    return found


def _start(counted: Any) -> str:
    return str(counted).rpartition(":")[2][:8]


def _on(run: Run) -> set[str]:
    """Return the evals that measured the run: `evals.mmlu`."""
    inside = (key.split(".") for key in run.settings if key.startswith("evals."))
    return {".".join(parts[: 3 if parts[1] in _TABLES else 2]) for parts in inside if parts[2:]}


def _evals(runs: Sequence[Run]) -> list[str]:
    """Return the evals that some of the runs had and others had not."""
    on = [_on(run) for run in runs if run.settings]
    some: set[str] = set().union(*on)
    return sorted(name for name in some if not all(name in one for one in on))
