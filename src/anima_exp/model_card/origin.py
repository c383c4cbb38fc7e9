"""Describe the base and the data of a run for others, without paths of this machine."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from anima_exp.system.paths import known_path

_HUB = "hub:"
_PLACES = (
    "model.source", "model.tokenizer", "data.path", "data.heldout_path", "data.template",
)  # fmt: skip
_EMBEDDED = {  # descriptions by data.source
    "sample": "the Chinese half of the task world embedded in anima-exp",
    "sample_chat": "the conversations of the task world embedded in anima-exp, in English",
}
_OF_A_PART = re.compile(r"data\.parts\.(?P<part>\w+)\.(?P<name>\w+)")


@dataclass(frozen=True)
class Base:
    """The model that was fine-tuned."""

    name: str
    hub_id: str | None  # None: a local folder, or the embedded base
    commit: str | None
    description: str  # for the model card


@dataclass(frozen=True)
class Data:
    name: str
    hub_id: str | None
    description: str  # for the model card


def base_origin(settings: Mapping[str, Any], fingerprint: str) -> Base:
    source = str(settings["model.source"])
    if fingerprint.startswith(_HUB):
        return Base(source, source, fingerprint.removeprefix(_HUB), source)
    if source == "tiny":
        return Base(source, None, None, f"the tiny base embedded in anima-exp ({fingerprint})")
    name = _last(source)
    return Base(name, None, None, f"a local folder named {name} ({fingerprint})")


def data_origins(settings: Mapping[str, Any]) -> dict[str, Data]:
    """Return the parts of a mixture by name; otherwise the only data set, by an empty name."""
    parts: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        if found := _OF_A_PART.fullmatch(key):
            parts.setdefault(found["part"], dict(settings))
            if value is not None or found["name"] != "split":  # which data.split says then
                parts[found["part"]][f"data.{found['name']}"] = value
    if not parts:
        return {"": _one_origin(settings)}
    return {name: _one_origin(parts[name]) for name in sorted(parts)}


def is_mixture(settings: Mapping[str, Any]) -> bool:
    """Return whether the run was trained on several data sets."""
    return any(map(_OF_A_PART.fullmatch, settings))


def data_origin(settings: Mapping[str, Any]) -> Data:
    origins = data_origins(settings)
    if "" in origins:
        return origins[""]
    described = "; ".join(f"{name}: {one.description}" for name, one in origins.items())
    return Data("mixture", None, f"a mixture of {len(origins)} data sets ({described})")


def _one_origin(settings: Mapping[str, Any]) -> Data:
    if path := settings["data.path"]:
        return Data(_last(path), None, f"a local file named {_last(path)}")
    source = str(settings["data.source"])
    if source in _EMBEDDED:
        return Data(source, None, _EMBEDDED[source])
    parts = [source, *_given(settings, "data.subset", "data.data_files")]
    return Data(source, source, f"{', '.join(parts)}, split {settings['data.split']}")


def heldout(settings: Mapping[str, Any]) -> str:
    """Return where the held-out rows came from."""
    if path := settings["data.heldout_path"]:
        return f"from a local file named {_last(path)}"
    if split := settings["data.heldout_split"]:
        return f"from split {split}"
    return f"taken off the rows read, seed {settings['data.heldout_seed']}"


def without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with local paths replaced by the name of the file or folder."""
    return {
        key: _last(value) if _names_a_place(key) and value and _is_local(value) else value
        for key, value in settings.items()
    }


def _names_a_place(key: str) -> bool:
    part = _OF_A_PART.fullmatch(key)
    return (f"data.{part['name']}" if part else key) in _PLACES


def _is_local(place: str) -> bool:
    path = known_path(place)
    return path.is_absolute() or place.startswith(".") or path.exists()


def _last(path: str) -> str:
    return known_path(path).resolve().name


def _given(settings: Mapping[str, Any], *keys: str) -> list[str]:
    return [str(settings[key]) for key in keys if settings[key]]


# Licences and languages of known bases and data sets.


@dataclass(frozen=True)
class Licence:
    licence: str
    language: str | None = None  # of a data set, as the hub spells it


_LLAMA = "research only: LLaMA's licence, which derived weights inherit"
_APACHE = "Apache-2.0"
_OURS = "Apache-2.0, part of anima-exp"

_BASES = {
    "tiny": Licence(_OURS),
    "huggyllama/llama-*": Licence(_LLAMA),
    "timdettmers/guanaco-*-merged": Licence(_LLAMA),
    "TheBloke/guanaco-*-HF": Licence(_LLAMA),
    "lyogavin/Anima33B-merged": Licence(_LLAMA),
    "meta-llama/Llama-2-*": Licence("Llama 2 Community License"),
    "meta-llama/Llama-3.1-*": Licence("Llama 3.1 Community License, which also rules the name"),
    "meta-llama/Llama-3.2-*": Licence("Llama 3.2 Community License, which also rules the name"),
    "meta-llama/Llama-3.3-*": Licence("Llama 3.3 Community License, which also rules the name"),
    "google/gemma-3-*": Licence("Gemma Terms of Use, which derived models inherit"),
    "Qwen/Qwen3-*": Licence(_APACHE),
    "microsoft/phi-4": Licence("MIT"),
    "allenai/OLMo-2-*": Licence(_APACHE),
    "openai/gpt-oss-*": Licence(_APACHE),
    "mistralai/Mistral-7B-v0.3": Licence(_APACHE),
    "mistralai/Mistral-Small-24B-*": Licence(_APACHE),
    "HuggingFaceTB/SmolLM2-*": Licence(_APACHE),
}
_DATA = {
    "sample": Licence(_OURS, "zh"),
    "sample_chat": Licence(_OURS, "en"),
    "tatsu-lab/alpaca": Licence("CC BY-NC 4.0: not for commercial use", "en"),
    "yahma/alpaca-cleaned": Licence("CC BY-NC 4.0: not for commercial use", "en"),
    "Chinese-Vicuna/guanaco_belle_merge_v1.0": Licence("research only, like BELLE", "zh"),
    "laion/OIG": Licence(_APACHE, "en"),
    "Anthropic/hh-rlhf": Licence("MIT", "en"),
    "timdettmers/openassistant-guanaco": Licence(_APACHE),
    "yizhongw/self_instruct": Licence(_APACHE, "en"),
    "meta-math/MetaMathQA": Licence("MIT", "en"),
}


def of_base(source: str) -> Licence | None:
    return _find(source, _BASES)


def of_data(source: str | None) -> Licence | None:
    return _find(source, _DATA) if source else None


def _find(source: str, among: dict[str, Licence]) -> Licence | None:
    return next((known for ids, known in among.items() if fnmatch(source, ids)), None)
