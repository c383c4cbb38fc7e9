"""A run's record -> what it was made from, as strangers may know it: no path of this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anima_exp.results.record import Record

_HUB = "hub:"


@dataclass(frozen=True)
class Base:
    """The model that was fine-tuned."""

    name: str
    hub_id: str | None  # None: a local folder, or the embedded one
    commit: str | None
    told: str  # as the card says it


@dataclass(frozen=True)
class Data:
    name: str
    hub_id: str | None
    told: str


def base(record: Record) -> Base:
    source, found = str(record.settings["model.source"]), record.base_fingerprint
    if found.startswith(_HUB):
        return Base(source, source, found.removeprefix(_HUB), source)
    if source == "tiny":
        return Base(source, None, None, f"the tiny base embedded in anima-exp ({found})")
    name = _last(source)
    return Base(name, None, None, f"a local folder named {name} ({found})")


def data(record: Record) -> Data:
    settings = record.settings
    if path := settings["data.path"]:
        return Data(_last(path), None, f"a local file named {_last(path)}")
    source = str(settings["data.source"])
    if source == "sample":
        return Data(source, None, "the Chinese half of the task world embedded in anima-exp")
    parts = [source, *_given(settings, "data.subset", "data.data_files")]
    return Data(source, source, f"{', '.join(parts)}, split {settings['data.split']}")


def heldout(record: Record) -> str:
    """Where the rows set aside came from."""
    settings = record.settings
    if path := settings["data.heldout_path"]:
        return f"from a local file named {_last(path)}"
    if split := settings["data.heldout_split"]:
        return f"from split {split}"
    return f"taken off the rows read, seed {settings['data.heldout_seed']}"


def _last(path: str) -> str:
    return Path(path).expanduser().resolve().name


def _given(settings: dict[str, Any], *keys: str) -> list[str]:
    return [str(settings[key]) for key in keys if settings[key]]
