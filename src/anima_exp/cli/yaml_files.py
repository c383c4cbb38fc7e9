"""Check YAML files of the user before Hydra reads them, and report errors with file and line.

OmegaConf copies the value of an alias each time that it occurs, so a file of ten lines can fill any
memory. So a file is checked before it is read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig

from anima_exp.config.program_settings import todays_file, todays_key
from anima_exp.errors import ConfigError, first_line
from anima_exp.libraries import hydra_internals
from anima_exp.system.paths import shipped

_LARGEST_BYTES = 4 << 20  # a sweep of ten thousand points has 1 MiB
_MOST_VALUES = 1_000_000  # with each alias expanded

_read: dict[str, Path] = {}  # by Hydra's name of it, `lora/mine`


def offer() -> None:
    """Make Hydra read files through this module. Call it before Hydra composes anything."""
    hydra_internals.read_files_with(FileConfigSource)


@contextmanager
def forgotten() -> Iterator[None]:
    """Start with no file known, and forget afterwards which files Hydra has read inside."""
    before = dict(_read)
    _read.clear()
    try:
        yield
    finally:
        _read.clear()
        _read.update(before)


def path_of(name: str) -> str:
    """Return the path of the file that Hydra has read for `lora/mine`, for the user."""
    path = _read.get(name)
    return f"conf/{name}.yaml" if path is None or _is_ours(path) else shown(path)


def _is_ours(path: Path) -> bool:
    return path.is_relative_to(shipped("conf")) or path.is_relative_to(shipped("sweeps"))


def setting(key: str) -> str | None:
    """Return the user's file that sets `lora.rank` or chooses a group; the last one read."""
    result = None
    for name, path in _read.items():
        if not _is_ours(path) and path.is_file() and key in _keys(name, path):
            result = shown(path)
    return result


def lists(group: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (file, names) for each list that a defaults list of a user's file gives a group."""
    for path in _read.values():
        if not _is_ours(path) and path.is_file():
            for chosen, names in _chosen_lists(path, path.stat().st_mtime_ns):
                if chosen == group:
                    yield shown(path), names


@cache
def _chosen_lists(path: Path, _changed: int) -> list[tuple[str, list[str]]]:
    data = yaml.safe_load(path.read_bytes())
    entries = data.get("defaults") if isinstance(data, dict) else None
    return [
        (str(key).rpartition(" ")[2].strip("/"), [str(one) for one in value])
        for entry in (entries if isinstance(entries, list) else [])
        for key, value in (entry.items() if isinstance(entry, dict) else [])
        if isinstance(value, list)
    ]


def _keys(name: str, path: Path) -> set[str]:
    data = yaml.safe_load(path.read_bytes())
    lines = path.read_text(encoding="utf-8").splitlines()
    everywhere = name.startswith("sweep/") or any("@package _global_" in line for line in lines)
    group = "" if everywhere else name.rpartition("/")[0].replace("/", ".")
    swept = data.get("hydra") or {} if isinstance(data, dict) else {}
    swept = swept.get("sweeper") or {} if isinstance(swept, dict) else {}
    parts: list[Any] = []
    for name, part in swept.items() if isinstance(swept, dict) else ():
        today = todays_key(f"hydra.sweeper.{name}")
        if today in ("hydra.sweeper.params", "hydra.sweeper.multipliers"):
            parts.append(part)
        elif today == "hydra.sweeper.points" and isinstance(part, list):
            parts += part
    result = set(_paths(data, group))
    for part in parts:
        result |= set(map(str, part)) if isinstance(part, dict) else set()
    return set(map(todays_key, result))


def _paths(data: object, group: str) -> Iterator[str]:
    """Yield lora.rank and data for `{rank: 8, defaults: [{override /data: sample}]}` in lora."""
    if not isinstance(data, dict):
        return
    for key, value in data.items():
        if key == "defaults" and isinstance(value, list):
            chosen = (str(one) for entry in value if isinstance(entry, dict) for one in entry)
            yield from (one.rpartition(" ")[2].strip("/") for one in chosen)
        path = f"{group}.{key}" if group else str(key)
        yield path
        yield from _paths(value, path)


def shown(path: Path) -> str:
    """Return the path, relative to the working directory if it is inside."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


class FileConfigSource(hydra_internals.FileConfigSource):
    """Hydra's source of files, with checks and one-line errors.

    It has the name of Hydra's own source: a job on a cluster restores this registration first and
    then registers Hydra's source, which Hydra rejects under another name.
    """

    def load_config(self, config_path: str) -> ConfigResult:
        name = config_path.removesuffix(".yaml")
        path = Path(self.path, f"{name}.yaml").absolute()
        if path.is_file():
            check(path)
            _read[name] = path
        with mistakes_in(path):
            result = super().load_config(config_path)
        if name.startswith("sweep/") and result.header["package"] is None:
            result.header["package"] = "_global_"  # as in sweeps/: a sweep may set anything
        return renamed(result, name) if path in _read.values() else result


def renamed(result: ConfigResult, name: str) -> ConfigResult:
    """Return the config of a file with the current names of its settings."""
    given = result.header["package"]
    if not isinstance(result.config, DictConfig):
        return result
    groups = {"_global_": "", "_group_": None}
    group = groups.get(given or "_group_", given)
    if group is None:
        group = name.rpartition("/")[0].replace("/", ".")
    result.config, package = todays_file(result.config, group)
    if group and not package:
        result.header["package"] = "_global_"
    return result


def check(path: Path) -> None:
    """Raise ConfigError unless `path` is a YAML mapping of an acceptable size."""
    if _is_ours(path):
        return  # tests read all shipped files
    text = _text(path)
    with mistakes_in(path):
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None and not isinstance(node, yaml.MappingNode):
            kind = "a list" if isinstance(node, yaml.SequenceNode) else "a text"
            raise ConfigError(
                f"{shown(path)} holds {kind}, but a file of settings is a mapping. Write "
                "KEY: VALUE on each line."
            )
        if node is not None and _values(node, {}) > _MOST_VALUES:
            raise ConfigError(
                f"{shown(path)}: its aliases (*NAME) expand to more than {_MOST_VALUES:,} values. "
                "Write the values out instead."
            )


@contextmanager
def mistakes_in(path: Path) -> Iterator[None]:
    """Turn errors of the YAML parser into one line with the file and the line number."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        what = error.problem or error.context or "it is not YAML"
        tab = " Indent with spaces, not with tabs." if "'\\t'" in what else ""
        raise ConfigError(f"{shown(path)}{line}: {what}.{tab}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{shown(path)} is not YAML: {first_line(error)}.") from error
    except RecursionError as error:
        raise ConfigError(f"{shown(path)} is nested too deeply, or contains itself.") from error
    except OSError as error:
        raise ConfigError(f"Cannot read {shown(path)}: {error.strerror}.") from error


def _text(path: Path) -> str:
    with mistakes_in(path):
        if path.stat().st_size > _LARGEST_BYTES:
            raise ConfigError(
                f"{shown(path)} has {path.stat().st_size / (1 << 20):,.0f} MiB, but a file of "
                f"settings may have at most {_LARGEST_BYTES >> 20} MiB."
            )
        data = path.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{shown(path)}, line {line}: not UTF-8 text. Save the file in UTF-8."
        ) from error


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return the number of values of `node` with its aliases expanded."""
    if id(node) in known:
        return known[id(node)]
    known[id(node)] = _MOST_VALUES + 1  # an alias to `node` inside it has no end
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    known[id(node)] = 1 + sum(_values(part, known) for part in inner)
    return known[id(node)]
