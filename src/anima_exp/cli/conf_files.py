"""Read conf/ and sweeps/ without Hydra: which choices there are, and which file sets what.

Composing with Hydra takes half a second. Help and completion only look at files, and read those
that they need.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from anima_exp.system.paths import shipped

BY_HAND = "by_hand"  # the choice of `sweep` that no file describes
_UNLESS = re.compile(r"^\$\{unless:\$\{([\w.]+)\},\$\{([\w.]+)\}\}$")
_REFERENCE = re.compile(r"^\$\{([\w.]+)\}$")
_LONGEST_CHAIN = 5  # of references


@dataclass(frozen=True)
class Line:
    """One setting in a file."""

    key: str
    value: str  # as the file writes it
    comment: str  # behind the value; empty without one
    file: str  # conf/trainer/default.yaml

    @property
    def parsed(self) -> Any:
        """Return the value as Hydra reads it: `2e-3` is a number, which YAML calls a text."""
        import yaml  # type: ignore[import-untyped]

        result = yaml.safe_load(self.value)
        if isinstance(result, str):
            with suppress(ValueError):
                return float(result)
        return result


def groups() -> list[str]:
    """Return the groups that have choices: model, data, ..., sweep."""
    folders = sorted(path.name for path in shipped("conf").iterdir() if path.is_dir())
    return [*(name for name in folders if name != "hydra"), "sweep"]


@cache
def choices(group: str) -> list[str]:
    """Return the choices of a group: `model` -> [anima33b, guanaco13b, ...]."""
    if group == "sweep":
        return [BY_HAND, *sorted(path.stem for path in shipped("sweeps").glob("*.yaml"))]
    if group not in groups():
        return []
    folder = shipped("conf") / group
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")
    )


def file_of(group: str, choice: str) -> Path:
    """Return the file of a choice."""
    folder = shipped("sweeps") if group == "sweep" else shipped("conf") / group
    return folder / f"{choice}.yaml"


def about(file: Path) -> str:
    """Return the comment at the top of a YAML file, as one paragraph."""
    result = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        if not line.startswith("#"):
            break
        text = line.lstrip("#").strip()
        if not text.startswith("@package"):
            result.append(text)
    return " ".join(result)


def one_line(text: str, width: int) -> str:
    """Return the whole sentences that fit, or the first one cut between two words."""
    return textwrap.shorten(whole_sentences(text, width), width, placeholder=" …")


def whole_sentences(text: str, width: int) -> str:
    """Return as many whole sentences of a paragraph as fit into `width` columns, at least one."""
    first, *rest = re.split(r"(?<=[.?!]) +(?=[A-Z])", text)
    for sentence in rest:
        if len(f"{first} {sentence}") > width:
            break
        first += f" {sentence}"
    return first


def lines(file: Path, group: str = "") -> Iterator[Line]:
    """Yield the settings of a YAML file, with their whole keys.

    Args:
        group: the group that its settings belong to; empty for a file of all groups.
    """
    import yaml

    text = file.read_text(encoding="utf-8")
    if "@package _global_" in text:
        group = ""
    rows = text.splitlines()
    node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    named = _shown(file)

    def walk(mapping: object, path: str) -> Iterator[Line]:
        for key, value in mapping.value if isinstance(mapping, yaml.MappingNode) else ():
            name = f"{path}.{key.value}" if path else str(key.value)
            if name in ("defaults", "hydra"):
                continue
            if isinstance(value, yaml.MappingNode) and value.value:
                yield from walk(value, name)
                continue
            if isinstance(value, yaml.SequenceNode) and not value.flow_style:
                items = [text[one.start_mark.index : one.end_mark.index] for one in value.value]
                yield Line(name, f"[{', '.join(items)}]", "", named)
                continue
            end = value.end_mark
            written = " ".join(text[value.start_mark.index : end.index].split())
            yield Line(name, written, rows[end.line][end.column :].partition("#")[2].strip(), named)

    yield from walk(node, group)


@cache
def defaults(config: str) -> Mapping[str, Line]:
    """Return what conf/`config`.yaml and its defaults list set, by key."""
    import yaml

    file = shipped("conf") / f"{config}.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    result: dict[str, Line] = {}
    for entry in content.get("defaults", ()):
        if entry == "_self_":
            result |= {line.key: line for line in lines(file)}
        elif isinstance(entry, str) and entry != "schema":
            result |= defaults(entry)
        elif isinstance(entry, dict):
            for group, chosen in entry.items():
                names = chosen if isinstance(chosen, list) else [chosen]
                for name in names:
                    if name is not None and (one := file_of(group, str(name))).is_file():
                        result |= {line.key: line for line in lines(one, group)}
    return result


def chosen(config: str) -> dict[str, str]:
    """Return the default choice of each group: {"model": "tiny", ...}."""
    import yaml

    file = shipped("conf") / f"{config}.yaml"
    result: dict[str, str] = {}
    for entry in yaml.safe_load(file.read_text(encoding="utf-8")).get("defaults", ()):
        if isinstance(entry, str) and entry not in ("_self_", "schema"):
            result |= chosen(entry)
        elif isinstance(entry, dict):
            for group, choice in entry.items():
                if not group.startswith("override"):
                    text = f"[{','.join(choice)}]" if isinstance(choice, list) else str(choice)
                    result[group] = "null" if choice is None else text
    return result


def resolved(value: str, known: Mapping[str, Line]) -> str:
    """Resolve a reference by the default choices: `${model.recommended.batch_size}` gives 16."""
    for _ in range(_LONGEST_CHAIN):
        if unless := _UNLESS.match(value):
            value = f"${{{unless[2]}}}"  # the first of both is null by default
        reference = _REFERENCE.match(value)
        if not reference or reference[1] not in known:
            return value
        value = known[reference[1]].value
    return value


def explained(value: str) -> str:
    """Return in words what a reference means: where the value comes from."""
    if unless := _UNLESS.match(value):
        return f"{unless[2]}, unless {unless[1]} is set"
    if reference := _REFERENCE.match(value):
        return f"the value of {reference[1]}"
    return value


def setters(key: str) -> list[Line]:
    """Return the lines of all files of conf/ and sweeps/ that set `key`."""
    last = key.rpartition(".")[2]
    result = []
    folders = (shipped("conf"), shipped("sweeps"))
    for folder in folders:
        for file in sorted(folder.rglob("*.yaml")):
            if last not in file.read_text(encoding="utf-8"):
                continue
            inside = file.relative_to(folder).parts
            group = inside[0] if folder.name == "conf" and len(inside) > 1 else ""
            result += [line for line in lines(file, group) if line.key == key]
    return result


def _shown(file: Path) -> str:
    """Shorten a path: `/.../site-packages/anima_exp/conf/lora/ffn.yaml` to `conf/lora/ffn.yaml`."""
    for name in ("conf", "sweeps"):
        if file.is_relative_to(shipped(name)):
            return f"{name}/{file.relative_to(shipped(name)).as_posix()}"
    return str(file)
