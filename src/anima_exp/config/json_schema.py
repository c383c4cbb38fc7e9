"""Describe a schema's dataclasses as JSON Schema, with which editors check YAML files.

Each group is a definition of its own: the files of conf/lora/ are checked by
`settings.schema.json#/$defs/LoraConfig`.
"""

from collections.abc import Iterator
from dataclasses import fields
from enum import Enum
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from anima_exp.config.catalogue import groups_in, kinds
from anima_exp.config.setting import MISSING, Setting, described

_REFERENCE = {
    "type": "string",
    "pattern": r"\$\{.+\}",
}  # ${data.recommended.max_steps} stands for any value
_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", NoneType: "null"}


def json_schema(schema: type) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a file that may say what `schema` has."""
    definitions = {one.__name__: _group(one) for one in _groups(schema)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of anima_exp",
        "$ref": f"#/$defs/{schema.__name__}",
        "$defs": definitions,
    }


def _groups(schema: type) -> Iterator[type]:
    seen: list[type] = [schema]
    for one in seen:  # grows as it is read
        hints = get_type_hints(one)
        for field in fields(one):
            seen += [inner for inner in groups_in(hints[field.name]) if inner not in seen]
    yield from seen


def _group(schema: type) -> dict[str, Any]:
    hints = get_type_hints(schema)
    properties = {
        field.name: _property(hints[field.name], described(field), field.default)
        for field in fields(schema)
    }
    return {
        "type": "object",
        "description": (schema.__doc__ or "").partition("\n")[0],
        # Hydra's own, in any file; in a sweep's file `hydra` holds the grid.
        "properties": {"defaults": {"type": "array"}, "hydra": {"type": "object"}, **properties},
        "additionalProperties": False,
    }


def _property(hint: object, setting: Setting, default: object) -> dict[str, Any]:
    allowed = [_type(kind, setting) for kind in (get_args(hint) if _is_union(hint) else (hint,))]
    result: dict[str, Any] = {"description": setting.about, "anyOf": [*allowed, _REFERENCE]}
    if isinstance(default, Enum):
        result["default"] = default.value
    elif isinstance(default, int | float | str) and default != MISSING:
        result["default"] = default
    return result


def _is_union(hint: object) -> bool:
    return kinds(hint) != [hint] and get_origin(hint) not in (list, dict)


def _type(kind: object, setting: Setting) -> dict[str, Any]:
    if get_origin(kind) is list:
        return {"type": "array", "items": _type(get_args(kind)[0], Setting(""))}
    if get_origin(kind) is dict:
        return {"type": "object"}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if group := next(groups_in(kind), None):
        return {"$ref": f"#/$defs/{group.__name__}"}
    if kind not in _TYPES:
        return {}
    result: dict[str, Any] = {"type": _TYPES[kind]}
    if kind in (int, float):
        ends = {
            "exclusiveMinimum": setting.above,
            "minimum": setting.at_least,
            "exclusiveMaximum": setting.below,
            "maximum": setting.largest if setting.at_most is None else setting.at_most,
        }
        result |= {word: end for word, end in ends.items() if end is not None}
    return result
