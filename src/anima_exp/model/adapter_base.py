"""An adapter -> the base model that it was trained on, as settings of a command line."""

from functools import cache
from pathlib import Path

from anima_exp import hub
from anima_exp.command_line import written
from anima_exp.errors import ConfigError
from anima_exp.events import warn
from anima_exp.messages import choices
from anima_exp.model import adapter_files
from anima_exp.paths import known_path, shipped, tiny_base


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
    base = source(named)
    if base != "tiny" and not Path(base).is_dir() and not hub.is_id(base):
        raise ConfigError(
            f"{key}={place} was trained on {named}, a folder that is not here. "
            "Add model=local model.source=FOLDER, or model=NAME."
        )
    known = next((name for name, theirs in _sources().items() if theirs == base), None)
    chosen = [f"model={known}"] if known else ["model=local", f"model.source={written(base)}"]
    return [*chosen, f"model.revision={written(revision)}"] if revision else chosen


def warn_of_another(place: str, used: str, *, key: str = "adapter") -> None:
    """One line if an adapter names another base than the one it is put on.

    No mistake for certain: a base may lie in a folder, or have a copy of another name.
    """
    named = adapter_files.settings(place, key=key).get("base_model_name_or_path")
    if named and source(named) != source(used):
        warn(
            f"{key}={place} names {named} as its base, and is put on {used}: unless both are the "
            "same weights, what it says means nothing."
        )


def source(named: str) -> str:
    """One spelling for each base: `tiny` wherever the package lies, and folders by their path."""
    parts = Path(named).parts
    if named == "tiny" or parts[-3:] == tiny_base().parts[-3:]:
        return "tiny"
    folder = known_path(named)
    return str(folder.resolve()) if folder.is_dir() else named


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
