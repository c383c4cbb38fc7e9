"""Check that the held-out rows of an evaluation are not rows that the run was trained on.

Held-out rows are drawn from the data when they are needed, and no file lists them. If a row was
added to the data since training, or the number of held-out rows changes, the draw changes too. Then
most "held-out" rows would be training rows, and the loss would look better than it is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anima_exp.config import UseConfig
from anima_exp.data import source
from anima_exp.data.parts import each, parts_of
from anima_exp.errors import DataError
from anima_exp.events import warn
from anima_exp.inference.saved_model import absolute, find_run_of_adapter, record
from anima_exp.results import identity
from anima_exp.results.record import Record
from anima_exp.system.paths import known_path

_SAME_DATA = ("data.source", "data.subset", "data.data_files", "data.split")
_SAME_DRAW = ("data.max_rows", "data.revision", "data.heldout_seed")


def check_rows(config: UseConfig) -> None:
    """Run `check_heldout` if one of the evaluations measures on held-out rows."""
    if config.evals.heldout or (config.evals.exact_match and config.data.exact_answers):
        check_heldout(config)


def check_heldout(config: UseConfig) -> None:
    """Raise DataError if the held-out rows of `config` would include training rows of the run.

    Data that the run was not trained on is not checked. The parts of a mixture are compared one by
    one, with those of the run and with its only data set.
    """
    run = Path(config.run) if config.run else find_run_of_adapter(config.adapter or "")
    if run is None:
        return
    trained = _trained_on(record(run))
    if not config.data.parts:
        _check(config, trained, run)
        return
    each(config.data, lambda part: _check(replace(config, data=part), trained, run))


@dataclass(frozen=True)
class _Trained:
    """A data set that a run was trained on."""

    settings: Mapping[str, Any]
    absolute: Mapping[str, Any]  # the same with absolute paths
    fingerprint: str


def _trained_on(then: Record) -> list[_Trained]:
    if not any(key.startswith("data.parts.") for key in then.settings):
        return [_Trained(then.settings, absolute(then), then.data_fingerprint)]
    config, found = then.config, []
    for name, part in parts_of(config.data).items():
        settings = identity.flatten(replace(config, data=part))
        found.append(_Trained(settings, settings, str(then.parts[name]["fingerprint"])))
    return found


def _check(config: UseConfig, trained: Iterable[_Trained], run: Path) -> None:
    """Raise DataError if held-out rows of one data set include training rows of the run."""
    now = identity.flatten(config)
    for then in trained:
        if _file(now, "data.path") == _file(then.absolute, "data.path") and all(
            now[key] == then.settings.get(key) for key in _SAME_DATA
        ):
            _check_draw(config, now, then, run)


def _check_draw(config: UseConfig, now: Mapping[str, Any], then: _Trained, run: Path) -> None:
    if now["data.heldout_path"] or now["data.heldout_split"]:
        if _heldout_source(now) == _heldout_source(then.absolute) and not _same(config, then):
            key = "data.heldout_path" if now["data.heldout_path"] else "data.heldout_split"
            warn(
                f"{_name(now)} has changed since {run} was trained. Its held-out rows come from a "
                f"separate source ({key}={now[key]}). Compare scores only if that source is "
                "unchanged."
            )
        return
    changed = [key for key in _SAME_DRAW if now[key] != then.settings.get(key)]
    if now["data.heldout_rows"] > then.settings["data.heldout_rows"]:
        changed.append("data.heldout_rows")
    if changed:
        key = changed[0]
        raise DataError(
            f"{key}={now[key]} would hold out rows of the training set, because {run} was trained "
            f"with {key}={then.settings.get(key)}. Leave {key} out, or evaluate on other rows with "
            "data.heldout_path=FILE."
        )
    if not _same(config, then):
        raise DataError(
            f"{_name(now)} has changed since {run} was trained, so rows of the training set would "
            "be held out. Restore the data, or evaluate on other rows with data.heldout_path=FILE."
        )


def _same(config: UseConfig, then: _Trained) -> bool:
    return source.fingerprint(config.data) == then.fingerprint


def _file(settings: Mapping[str, Any], key: str) -> str | None:
    path = settings[key]
    return str(known_path(path).resolve()) if path else None


def _name(settings: Mapping[str, Any]) -> str:
    key = "data.path" if settings["data.path"] else "data.source"
    return f"{key}={settings[key]}"


def _heldout_source(settings: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return _file(settings, "data.heldout_path"), settings["data.heldout_split"]
