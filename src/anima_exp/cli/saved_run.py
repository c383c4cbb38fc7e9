"""run=FOLDER or adapter=PLACE on a command line -> the settings that follow from it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from anima_exp.cli.error_messages import choices
from anima_exp.cli.overrides import said, to_override
from anima_exp.config import TargetModules
from anima_exp.errors import ConfigError, ModelError
from anima_exp.inference.saved_model import absolute, adapter_of_a_run, find_run_of_adapter, record
from anima_exp.libraries import hub
from anima_exp.model import adapter_files
from anima_exp.system import paths
from anima_exp.system.paths import shipped

# What of a run says which model it made, and how that is to be asked. All else is the command's.
_OF_THE_RUN = ("model", "quant", "lora", "data", "trainer.precision", "seed")


def expand_run_argument(arguments: Sequence[str]) -> list[str]:
    """A command line with `run=FOLDER` -> the same with that run's settings before all others.

    With `adapter=PLACE` it is the base that the adapter names, unless the user names one; for the
    adapter in a run's folder, all that the run says. What the user gives beside it wins; a group
    that is chosen (`quant=none`) replaces the run's.

    Raises:
        ConfigError: the folder holds no finished run, or an adapter is given as well.
        ModelError: there is no such adapter.
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
    """Raise ConfigError if the run's base was a local folder that does not exist now."""
    if settings["lora.target_modules"] == TargetModules.none.value:
        return  # the run's folder holds the whole model
    named = str(settings["model.source"])
    if named == "tiny" or paths.known_path(named).is_dir():
        return
    with suppress(ModelError):  # without an adapter, its loader says so
        adapter = adapter_files.settings(str(run / "adapter"))
        known = str(adapter.get("base_model_name_or_path"))
        if Path(known).is_dir():  # of a record without `places`
            settings["model.source"] = known
            return
    if hub.is_id(named) or (not named.startswith((".", "/", "~")) and "/" not in named):
        return
    raise ConfigError(
        f"{key}={place} was trained on model.source={named}, a folder that no longer exists. "
        "Add model.source=FOLDER with the place of the base."
    )


def _place(given: Mapping[str, str], key: str) -> str | None:
    place = said(given.get(key, ""))
    if not place:
        return None
    return str(paths.expanded(place, key)) if place.startswith("~") else place


def _overrides(settings: dict[str, Any], chosen: Iterable[str]) -> list[str]:
    """Hydra overrides for the run's own settings, but for the groups that the user chose."""
    groups = {key for key in chosen if "." not in key}
    return [
        f"{key}={to_override(value)}"
        for key, value in settings.items()
        if key.startswith(tuple(f"{part}." for part in _OF_THE_RUN if "." not in part))
        or key in _OF_THE_RUN
        if key.partition(".")[0] not in groups
    ]


def overrides(place: str, *, key: str = "adapter") -> list[str]:
    """`model=...` for the base that an adapter's own settings name.

    A base that conf/model knows brings what is recommended for it; any other is taken as it is.

    Raises:
        ModelError: there is no adapter.
        ConfigError: it names no base, or a folder that is not here.
    """
    found = adapter_files.settings(place, key=key)
    named, revision = found.get("base_model_name_or_path"), found.get("revision")
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
    """conf/model's names, each with the base it chooses."""
    from omegaconf import DictConfig, OmegaConf

    found = {}
    for name in choices("model"):
        node = OmegaConf.load(shipped("conf") / "model" / f"{name}.yaml")
        assert isinstance(node, DictConfig)
        if not OmegaConf.is_missing(node, "source"):
            found[name] = str(node["source"])
    return found
