"""Find the command line that computes a run again, from the run's settings alone.

reproduce({"seed": 1, "lora.rank": 8, ...})
# Reproduction(overrides=["seed=1", "lora.rank=8"], ...)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anima_exp.cli import conf_files
from anima_exp.cli.from_python import compose
from anima_exp.cli.overrides import assignment
from anima_exp.config import RunConfig
from anima_exp.config.catalogue import catalogue
from anima_exp.errors import AnimaError
from anima_exp.results import identity

_NAMED = ("model", "data")  # groups whose settings hold the name of their file
_MATCHED = ("quant", "lora", "optimizer", "trainer")  # groups whose file its values identify
_HASH = "sha256:"
_FOLLOWS = ("model.shape.", "data.length_stats.", "model.name", "data.name")


@dataclass(frozen=True)
class Reproduction:
    """A command line for a run."""

    overrides: tuple[str, ...]  # model=guanaco33b lora.rank=8
    changed: Mapping[str, Any] = field(default_factory=dict)  # settings beyond the groups
    name: str = ""  # of the run that it computes; empty if it does not compose
    missing: tuple[str, ...] = ()  # settings that the run keeps as a hash only: paths


def reproduce(settings: Mapping[str, Any]) -> Reproduction:
    """Return the shortest command line that gives these settings.

    Args:
        settings: flattened, as a record has them, or as settings.json of an unfinished run.
    """
    # A mixture needs its parts to compose. Their settings are in no list of settings.
    parts = [
        assignment(key, value)
        for key, value in settings.items()
        if key.startswith("data.parts.") and value is not None
    ]
    groups = [*_groups(settings), *parts]
    try:
        base = identity.flatten(_composed(groups))
    except AnimaError:
        groups, base = [], identity.flatten(_composed([]))
    known = catalogue(RunConfig)
    changed = {
        key: value
        for key, value in settings.items()
        if key in known
        and known[key].in_name
        and key in base
        and not key.startswith(_FOLLOWS)
        and not _same(value, base[key])
    }
    missing = tuple(key for key, value in changed.items() if str(value).startswith(_HASH))
    own = [assignment(key, "PATH" if key in missing else value) for key, value in changed.items()]
    overrides = (*groups, *own)
    return Reproduction(overrides, changed, "" if missing else _name(overrides), missing)


def _same(value: object, usual: object) -> bool:
    """Return whether two values of a setting are the same; the order of a list does not count."""
    if isinstance(value, list) and isinstance(usual, list):
        return sorted(map(str, value)) == sorted(map(str, usual))
    return isinstance(value, bool) == isinstance(usual, bool) and bool(value == usual)


def _groups(settings: Mapping[str, Any]) -> list[str]:
    """Return the choices of groups that come closest to the settings."""
    usual = conf_files.chosen("train")
    result = []
    for group in _NAMED:
        name = settings.get(f"{group}.name")
        if name in conf_files.choices(group) and name != usual[group]:
            result.append(f"{group}={name}")
    for group in _MATCHED:
        best = max(
            [usual[group], *conf_files.choices(group)],
            key=lambda choice: _matches(group, choice, settings),
        )
        if best != usual[group]:
            result.append(f"{group}={best}")
    evals = _evals(settings)
    if evals and f"[{','.join(evals)}]" != usual["evals"]:
        result.append(f"evals=[{','.join(evals)}]")
    return result


def _matches(group: str, choice: str, settings: Mapping[str, Any]) -> int:
    """Return how many plain values of a choice the settings have, less those they contradict."""
    score = 0
    for line in conf_files.lines(conf_files.file_of(group, choice), group):
        if "${" in line.value or line.key not in settings:
            continue
        score += 1 if _same(line.parsed, settings[line.key]) else -1
    return score


def _evals(settings: Mapping[str, Any]) -> list[str]:
    on = {key.split(".")[1] for key in settings if key.startswith("evals.") and key.count(".") > 1}
    usual = conf_files.chosen("train")["evals"].strip("[]").split(",")
    names = [*usual, *(one for one in conf_files.choices("evals") if one not in usual)]
    return [name for name in names if name in on]


def _composed(overrides: Sequence[str]) -> RunConfig:
    """Compose the overrides alone: what follows from an adapter is among them already."""
    return compose(RunConfig, overrides, expand=list)


def _name(overrides: Sequence[str]) -> str:
    try:
        return identity.run_name(_composed(overrides))
    except AnimaError:
        return ""


def place(folder: Path, command: Reproduction) -> list[str]:
    """Return the settings that lead a command line to the run's own folder."""
    if command.name == folder.name:
        return [] if folder.parent == Path("runs") else [assignment("runs_dir", folder.parent)]
    return [assignment("run_dir", folder)]
