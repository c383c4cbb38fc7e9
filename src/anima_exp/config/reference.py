"""Write the reference page of a schema: every setting with its sentence and its values.

python -m anima_exp.config.reference docs      # settings.md and settings.schema.json
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

import yaml  # type: ignore[import-untyped]

from anima_exp.config.catalogue import Entry, catalogue, kinds
from anima_exp.config.json_schema import json_schema
from anima_exp.config.run import RunConfig
from anima_exp.system.paths import shipped

_NAMES = {int: "whole number", float: "number", bool: "true or false", str: "text"}


def values(entry: Entry) -> str:
    """Return what a setting may be: `number greater than 0, tokens; or null`."""
    parts = [_kind(entry)]
    if text := entry.setting.range_text():
        parts[0] += text.removeprefix("must be").rstrip(".")
    if entry.setting.unit:
        parts.append(entry.setting.unit)
    return ", ".join(parts) + ("; or null" if entry.optional else "")


def _kind(entry: Entry) -> str:
    if entry.choices:
        names = " or ".join(filter(None, [", ".join(entry.choices[:-1]), entry.choices[-1]]))
        return f"list of {names}" if get_origin(entry.hint) is list else names
    kind = kinds(entry.hint)[0] if get_origin(entry.hint) not in (list, dict) else entry.hint
    if get_origin(kind) is list or get_origin(entry.hint) is list:
        inner = next((one for one in get_args(kind) if one is not NoneType), str)
        return f"list of {_NAMES.get(inner, 'value')}s"
    if get_origin(kind) is dict:
        return "names with values"
    return _NAMES.get(kind, "value")


def reference_page(schema: type = RunConfig) -> str:
    """Return the page in Markdown: a section for each group, a row for each setting."""
    return "\n".join(_lines(schema)) + "\n"


def _lines(schema: type) -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield (
        "Give a setting as `key=value` on the command line, or in a file of `conf/`. "
        "A default is the value of `conf/`, whose files name the source of each number. A default "
        "that is a name takes the value of that setting. The name of a run depends on every "
        "setting but those marked with *, which do not change results. Former names of settings "
        "are still accepted."
    )
    entries = catalogue(schema)
    groups = ["", *(key for key, entry in entries.items() if entry.group)]
    for group in groups:
        inside = [
            entry
            for key, entry in entries.items()
            if key.rpartition(".")[0] == group and not entry.group
        ]
        if not inside:
            continue
        yield ""
        yield f"## {group or 'The run itself'}"
        if group:
            yield ""
            yield entries[group].setting.about + _formerly(entries[group])
        yield ""
        yield "| setting | values | default | what it does |"
        yield "| --- | --- | --- | --- |"
        yield from map(setting_row, inside)


def setting_row(entry: Entry) -> str:
    """Return the row of one setting: key, values, default, what it does."""
    star = "" if entry.in_name else " *"
    about = entry.setting.about + _formerly(entry)
    cells = [f"`{entry.key}`{star}", values(entry), _default(entry), about]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _formerly(entry: Entry) -> str:
    """Return the earlier names of a setting and of its values, which are still accepted."""
    group = f"{entry.key.rpartition('.')[0]}.".lstrip(".")
    setting, parts = entry.setting, []
    for name in setting.formerly:
        parts.append(f"`{name.lstrip('.') if '.' in name else group + name}`")
    for name in setting.formerly_not:
        parts.append(f"`{group}{name}`, with the opposite meaning")
    for old, new in (setting.former_values or {}).items():
        parts.append(f"`{entry.key}={old}` for `{entry.key}={new}`")
    return f" Formerly {', '.join(parts)}." if parts else ""


def _default(entry: Entry) -> str:
    """Return the value of conf/, or else of the dataclass."""
    value = shipped_values().get(entry.key, entry.default)
    if value is None:
        return "null"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    if value == "???":
        return f"as `{entry.key.partition('.')[0]}=NAME` says"
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    # ${unless:${trainer.num_epochs},${data.recommended.max_steps}}: the last name is the default.
    names = re.findall(r"[\w.]+(?=\})", value) if isinstance(value, str) and "${" in value else []
    return f"`{names[-1]}`" if names else str(value)


@cache
def shipped_values() -> Mapping[str, Any]:
    """Return the values of conf/train.yaml and of the files that it chooses, by dotted key.

    Every evaluation is among them. The files of models and data sets are not, since each has
    values of its own.
    """
    folder = shipped("conf")
    whole = yaml.safe_load((folder / "train.yaml").read_text(encoding="utf-8"))
    chosen = [one for one in whole.pop("defaults") if isinstance(one, dict)]
    del whole["hydra"]
    result: dict[str, Any] = whole
    for group, name in (pair for one in chosen for pair in one.items()):
        if group in ("quant", "lora", "optimizer", "trainer", "tracking"):
            file = folder / group / f"{name}.yaml"
            result |= _flat(yaml.safe_load(file.read_text(encoding="utf-8")), group)
    for file in (folder / "evals").glob("*.yaml"):
        result |= _flat(yaml.safe_load(file.read_text(encoding="utf-8")), "evals")
    return result


def _flat(node: Mapping[str, Any], group: str) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in node.items():
        key = f"{group}.{name}"
        result |= _flat(value, key) if isinstance(value, dict) else {key: value}
    return result


def main() -> None:
    """Write the reference page and the JSON schema into the folder of `sys.argv`."""
    folder = Path(sys.argv[1]) / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.md").write_text(reference_page(), encoding="utf-8")
    text = json.dumps(json_schema(RunConfig), indent=1, ensure_ascii=False)
    (folder / "settings.schema.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
