"""Check where a base and its tokenizer come from: a local folder, or a repository on the hub.

This imports no torch, so that a missing folder or a misspelt id is refused at once.
"""

from pathlib import Path

from anima_exp import hub
from anima_exp.config import ModelConfig
from anima_exp.errors import ModelError
from anima_exp.paths import expanded


def check_folders(model: ModelConfig) -> None:
    """Raise ModelError if `model.source` or `model.tokenizer` names a folder that does not exist.

    A name that can be a hub id is left to `check_hub`.
    """
    for key, place in _places(model):
        if _names_folder(place) and not expanded(place, key).is_dir():
            here = "" if expanded(place, key).is_absolute() else f" in {Path.cwd()}"
            raise ModelError(f"{key}={place}: there is no such folder{here}.")


def check_hub(model: ModelConfig) -> None:
    """Raise ModelError if the hub has no such base or tokenizer, or cannot be reached.

    An earlier download is enough.
    """
    for key, place in _places(model):
        if _names_folder(place) or expanded(place, key).is_dir():
            continue
        own = key == "model.source"
        name = "config.json" if own else "tokenizer_config.json"
        revision = model.revision if own else None  # which belongs to the base
        found = hub.file(place, name, where=f"{key}={place}", revision=revision)
        if own and found is None:
            raise ModelError(
                f"{key}={place}: the hub's repository holds no config.json, so it is no model that "
                "transformers can load. Check the id."
            )


def _places(model: ModelConfig) -> list[tuple[str, str]]:
    pairs = (("model.source", model.source), ("model.tokenizer", model.tokenizer))
    return [(key, place) for key, place in pairs if place and place != "tiny"]


def _names_folder(place: str) -> bool:
    return place.startswith((".", "/", "~")) or place.count("/") > 1 or Path(place).is_absolute()
