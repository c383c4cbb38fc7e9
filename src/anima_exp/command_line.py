"""Arguments as a user writes them -> as Hydra's grammar, which knows ASCII only, can read them."""

import json
import re
from typing import Any

_OVERRIDE = re.compile(r"^(?P<key>[+~]{0,2}[\w./@-]+)=(?P<value>.*)$", re.DOTALL)
_LIST = re.compile(r"^\[(?P<items>.*)\]$", re.DOTALL)
_TEXTS = {"prompt"}  # settings that take what a user writes to the letter


def readable(argument: str) -> str:
    """`data.path=数据.jsonl` -> `data.path="数据.jsonl"`; also each item of a list or a sweep.

    Only values with letters beyond ASCII, or a `~` at the start, are touched, and only where the
    user has not quoted anything. A text of several words (`prompt`) is always quoted.
    """
    found = _OVERRIDE.match(argument)
    if found and found["key"] in _TEXTS:
        return argument if found["value"] == "null" else f"{found['key']}={written(found['value'])}"
    if not found or not _needs_quotes(found["value"]) or re.search(r"[\"'$]", found["value"]):
        return argument
    items = _LIST.match(found["value"])
    quoted = ",".join(map(_quoted, (items["items"] if items else found["value"]).split(",")))
    return f"{found['key']}=[{quoted}]" if items else f"{found['key']}={quoted}"


def written(value: Any) -> str:
    """A JSON value in Hydra's grammar, where a backslash escapes quotes only."""
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, str):
        # A backslash is itself but before a quote, where it and its like are doubled.
        quoted = re.sub(r'(\\*)("|$)', lambda m: m[1] * 2 + ('\\"' if m[2] else ""), value)
        return '"' + quoted.replace("${", "\\${") + '"'
    return json.dumps(value)


def _quoted(value: str) -> str:
    return f'"{value.strip()}"' if _needs_quotes(value.strip()) else value


def _needs_quotes(value: str) -> bool:
    return not value.isascii() or value.startswith("~")
