"""Compute the name of a run from the settings that its result depends on."""

import hashlib
import json
from dataclasses import asdict
from enum import Enum
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anima_exp.config import BENCHMARKS, RunConfig, benchmark_key
from anima_exp.config.catalogue import catalogue
from anima_exp.config.mixture import part_key
from anima_exp.errors import ConfigError, without_passwords
from anima_exp.results.provenance import (
    adapter_fingerprint,
    folder_fingerprint,
    tables_fingerprint,
)
from anima_exp.system import hashing, paths
from anima_exp.system.paths import expanded

# Raise it by one when a change of the code changes the results of the same settings. From 2 on it
# is part of every name, so that old and new results are never mistaken for seeds of one cell.
RESULTS_VERSION = 1

_DESCRIBES = ("model.shape", "data.length_stats")
_EMBEDDED = ("tiny", "tiny_zh", "tiny_en")


def flatten(config: RunConfig) -> dict[str, Any]:
    """Every setting by its dotted key, in the order of config/run.py, as JSON values.

    What describes a model or a data set for the planner sets nothing, and is left out, as are the
    passwords in addresses.
    """
    flat: dict[str, Any] = {}

    def walk(value: object, key: str) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                inside = f"{key}.{name}" if key else name
                if inside not in _DESCRIBES:
                    walk(inner, inside)
        else:
            flat[key] = value.value if isinstance(value, Enum) else without_passwords(value)

    walk(asdict(config), "")
    return flat


def enters_name(key: str) -> bool:
    """Return whether a run's name depends on the setting `key`.

    `model.name` and `data.name` are labels: the name begins with them, but its hash ignores them.
    A key that is unknown to this version counts, unless its group does not count.
    """
    known = catalogue(RunConfig)
    while key and key not in known:
        key = key.rpartition(".")[0]
    return not key or known[key].in_name


def places(config: RunConfig) -> dict[str, str]:
    """Return the absolute paths of the settings that have paths relative to the current folder."""
    settings = flatten(config)
    keys = ["data.path", "data.heldout_path", "model.source", "model.tokenizer", "model.adapter"]
    if _is_template_file(settings["data.template"]):  # else it is the name of a format
        keys.append("data.template")
    keys += [f"{part}.{key}" for part in _parts(config) for key in ("path", "heldout_path")]
    keys += ["evals.answers.questions", *(f"{key}.path" for key in _benchmarks(config))]
    found = {}
    for key in keys:
        value = settings.get(key)
        if value and value not in _EMBEDDED and not paths.known_path(value).is_absolute():
            path = Path(value)
            if path.exists():  # else it is a hub id
                found[key] = str(path.resolve())
    return found


def identity_settings(config: RunConfig) -> dict[str, Any]:
    """Return the settings that the result depends on, in the form that the name's hash uses.

    Files, local models, and the user's recipes and templates count by their content, not by their
    location. The evaluations and their steps belong to the result, because the record has their
    scores. An evaluation that is off does not count. Otherwise every new evaluation would change
    all names.

    Names survive upgrades: settings and values have their first names here, and a setting of a
    later version counts only if it differs from its value `as_before`.
    """
    full = config.lora.is_full_finetune
    settings = {
        key: value
        for key, value in flatten(config).items()
        if enters_name(key)
        and not _as_before(key, value)
        and not (value is None and key.startswith("data.parts."))  # as `data` says
        and not (full and key.startswith("lora.") and key != "lora.target_modules")
    }
    places = ["data.path", "data.heldout_path", "model.source", "model.tokenizer"]
    places += [f"{part}.{key}" for part in _parts(config) for key in ("path", "heldout_path")]
    for key in [*places, "evals.answers.questions"]:
        if settings.get(key) and settings[key] not in _EMBEDDED:  # even if such a folder exists
            settings[key] = content_hash(settings[key], key, cache=paths.cache(config.cache_dir))
    if _is_template_file(template := settings.get("data.template")):
        settings["data.template"] = content_hash(str(template), "data.template")
    if adapter := settings.get("model.adapter"):
        settings["model.adapter"] = _adapter(adapter, cache=paths.cache(config.cache_dir))
    for key in ("lora.modules", "lora.save_modules"):
        if names := settings.get(key):
            settings[key] = sorted(names)  # their order has no effect
    code = ["data.recipe", "data.prompt_template", "evals.answers.prompt_template"]
    code += [f"{part}.recipe" for part in _parts(config)]
    for benchmark in _benchmarks(config):
        if settings.get(f"{benchmark}.path"):
            settings[f"{benchmark}.path"] = _tables(settings[f"{benchmark}.path"])
        code += [f"{benchmark}.prompt", f"{benchmark}.template", f"{benchmark}.source"]
        settings.pop(f"{benchmark}.batch_tokens", None)
    code += [f"evals.custom.{name}.function" for name in config.evals.custom]
    for key in code:
        if settings.get(key):
            settings[key] = _with_code(settings[key])
    settings = dict(_first_named(key, value) for key, value in settings.items())
    if RESULTS_VERSION > 1:
        settings["results_version"] = RESULTS_VERSION
    return settings


def _benchmarks(config: RunConfig) -> list[str]:
    return [*map(benchmark_key, (*BENCHMARKS, *config.evals.benchmarks))]


def _is_template_file(template: str | None) -> bool:
    """Return whether data.template is the path of a file, and not the name of a format."""
    return bool(template) and Path(str(template)).suffix == ".jinja"


def _parts(config: RunConfig) -> list[str]:
    return [*map(part_key, config.data.parts)]


def _adapter(place: str, *, cache: Path) -> str:
    """Return a hash of an adapter in a folder, or the id of an adapter on the hub."""
    folder = expanded(place, "model.adapter")
    if not folder.is_dir():
        return place
    try:
        return adapter_fingerprint(folder, cache=cache)
    except ValueError:
        return place  # damaged, which is reported when it is loaded
    except OSError as error:
        raise _unreadable(place, error) from error


def _as_before(key: str, value: object) -> bool:
    """Return whether a setting has the value that equals the behaviour before it existed."""
    entry = catalogue(RunConfig).get(key)
    if entry is None:
        return False
    off = value is None and entry.group is not None  # for example an evaluation
    return off or (entry.later and value == entry.setting.as_before)


def _first_named(key: str, value: object) -> tuple[str, Any]:
    entry = catalogue(RunConfig).get(key)
    if entry is None:
        return key, value
    renamed = {today: old for old, today in (entry.setting.former_values or {}).items()}
    return entry.first_key, renamed.get(value, value) if isinstance(value, str) else value


def _tables(place: str) -> str:
    folder = expanded(place)
    if not folder.is_dir():
        return place  # a mistake, which is reported when it is read
    state = max(path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")])
    return _tables_of(folder, state)


@lru_cache
def _tables_of(folder: Path, _changed: int) -> str:
    return tables_fingerprint(folder)


def _with_code(name: str) -> str:
    """Return a dotted path with the hash of its module."""
    if "." not in name or "/" in name:  # the name of an embedded function, or a hub id
        return name
    try:
        module = find_spec(name.rpartition(".")[0])
    except (ImportError, ValueError):
        return name  # a mistake, which config/lookup.py reports
    return f"{name} {content_hash(module.origin)}" if module and module.origin else name


def content_hash(place: str, key: str = "", *, cache: Path | None = None) -> str:
    """Return a hash of the content of a file or folder; anything else is returned unchanged.

    Args:
        key: the setting that names it, for the error message.
        cache: the cache folder, which keeps the hashes of large files.

    Raises:
        ConfigError: if it exists but cannot be read.
    """
    path = expanded(place, key)
    try:
        if path.is_dir():
            return folder_fingerprint(path, cache=cache)
        path.stat()
    except PermissionError as error:
        raise _unreadable(place, error) from error
    except OSError:
        return place  # a hub id, or a mistake, which is reported when it is read
    try:
        return f"sha256:{hashing.sha256(path, cache=cache)}"
    except OSError as error:
        raise _unreadable(place, error) from error


def _unreadable(place: str, error: OSError) -> ConfigError:
    return ConfigError(
        f"{place} cannot be read: {error.strerror or error} ({error.filename}). "
        "Its hash is part of the run's name."
    )


def run_name(config: RunConfig) -> str:
    """Return the run's name, such as `tiny-sample-1f0c9a2b7d`.

    It has the labels of model and data, and a hash of the settings that the result depends on.
    """
    settings = json.dumps(identity_settings(config), sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:10]
    return f"{config.model.name}-{config.data.name}-{digest}"
