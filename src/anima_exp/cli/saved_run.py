"""Add the settings of a finished run or of an adapter to a command line."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from anima_exp.cli.error_messages import choices
from anima_exp.cli.overrides import plain_value, to_override
from anima_exp.config import TargetModules
from anima_exp.errors import ConfigError, ModelError
from anima_exp.inference.saved_model import absolute, adapter_of_a_run, find_run_of_adapter, record
from anima_exp.libraries import hub
from anima_exp.model import adapter_files
from anima_exp.system import paths
from anima_exp.system.paths import shipped

# The settings of a run that identify its model and its prompts. The command sets all others.
_OF_THE_RUN = ("model", "quant", "lora", "data", "trainer.precision", "seed")


def expand_run_argument(arguments: Sequence[str]) -> list[str]:
    """Return a command line with the settings of `run=FOLDER` or `adapter=PLACE` before the others.

    For an adapter they are the base that it names, unless the user names one; for an adapter in a
    run folder they are the run's settings. Settings of the user override them. A group that the
    user chooses (`quant=none`) replaces the run's group.

    Raises:
        ConfigError: if the folder holds no finished run, or an adapter is given as well.
        ModelError: if the adapter does not exist.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments if "=" in argument)
    run, adapter = (_place(given, key) for key in ("run", "adapter"))
    if given.get("model.adapter", "null") != "null":
        raise adapter_of_a_run(given["model.adapter"])
    if run is None and adapter is None:
        return list(arguments)
    for key in ("adapter", "experiment") if run else ():
        if given.get(key, "null") != "null":
            raise ConfigError(f"run={run} and {key}={given[key]} are both set; give one.")
    key, place = ("run", run) if run else ("adapter", adapter)
    assert place is not None
    arguments = [
        f"{key}={to_override(place)}"
        if one.startswith(f"{key}=~") or one.startswith(f'{key}="~')
        else one
        for one in arguments
    ]
    folder = Path(place) if run else find_run_of_adapter(place)
    if folder:
        settings = absolute(record(folder))
        if not {"model", "model.source"} & set(given):
            _check_base_folder(key, place, folder, settings)
        return [*_overrides(settings, chosen=given), *arguments]
    if {"model", "model.source"} & set(given):
        return arguments
    return [*overrides(place), *arguments]


def _check_base_folder(key: str, place: str, run: Path, settings: dict[str, Any]) -> None:
    """Raise ConfigError if the run's base was a local folder that no longer exists."""
    if settings["lora.target_modules"] == TargetModules.none.value:
        return  # the run folder holds the full model
    named = str(settings["model.source"])
    if named == "tiny" or paths.known_path(named).is_dir():
        return
    with suppress(ModelError):  # a missing adapter is reported when it is loaded
        adapter = adapter_files.settings(str(run / "adapter"))
        known = str(adapter.get("base_model_name_or_path"))
        if Path(known).is_dir():  # an older record has no `places`
            settings["model.source"] = known
            return
    if hub.is_id(named) or (not named.startswith((".", "/", "~")) and "/" not in named):
        return
    raise ConfigError(
        f"{key}={place} was trained on model.source={named}, a folder that no longer exists. "
        "Add model.source=FOLDER with the place of the base."
    )


def _place(given: Mapping[str, str], key: str) -> str | None:
    place = plain_value(given.get(key, ""))
    if not place:
        if key in given and given[key] != "null":
            raise ConfigError(f"{key}= is empty. Give {key}=FOLDER, or leave it out.")
        return None
    return str(paths.expanded(place, key)) if place.startswith("~") else place


def _overrides(settings: dict[str, Any], chosen: Iterable[str]) -> list[str]:
    """Return overrides for the run's settings, without the groups that the user chose."""
    groups = {key for key in chosen if "." not in key}
    return [
        f"{key}={to_override(value)}"
        for key, value in settings.items()
        if key.startswith(tuple(f"{part}." for part in _OF_THE_RUN if "." not in part))
        or key in _OF_THE_RUN
        if key.partition(".")[0] not in groups
    ]


def overrides(place: str, *, key: str = "adapter") -> list[str]:
    """Return `model=...` for the base that an adapter's settings name.

    A base of conf/model comes with its recommended settings.

    Raises:
        ModelError: if the adapter does not exist.
        ConfigError: if it names no base, or a folder that does not exist here.
    """
    result = adapter_files.settings(place, key=key)
    named, revision = result.get("base_model_name_or_path"), result.get("revision")
    if not named:
        raise ConfigError(
            f"{key}={place} does not say which model it was trained on. "
            "Add model=NAME, or model=local model.source=FOLDER_OR_HUB_ID."
        )
    base = adapter_files.source(named)
    if base != "tiny" and not Path(base).is_dir() and not hub.is_id(base):
        raise ConfigError(
            f"{key}={place} was trained on {named}, a folder that does not exist here. "
            "Add model=local model.source=FOLDER, or model=NAME."
        )
    known = next((name for name, theirs in _sources().items() if theirs == base), None)
    chosen = [f"model={known}"] if known else ["model=local", f"model.source={to_override(base)}"]
    return [*chosen, f"model.revision={to_override(revision)}"] if revision else chosen


@cache
def _sources() -> dict[str, str]:
    """Return the bases of conf/model by name."""
    from omegaconf import DictConfig, OmegaConf

    result = {}
    for name in choices("model"):
        node = OmegaConf.load(shipped("conf") / "model" / f"{name}.yaml")
        assert isinstance(node, DictConfig)
        if not OmegaConf.is_missing(node, "source"):
            result[name] = str(node["source"])
    return result
