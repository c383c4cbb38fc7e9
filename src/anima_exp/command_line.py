"""Arguments as a user writes them -> as Hydra's grammar, which knows ASCII only, can read them."""

import re

_OVERRIDE = re.compile(r"^(?P<key>[+~]{0,2}[\w./@-]+)=(?P<value>.*)$", re.DOTALL)
_LIST = re.compile(r"^\[(?P<items>.*)\]$", re.DOTALL)


def readable(argument: str) -> str:
    """`data.path=数据.jsonl` -> `data.path="数据.jsonl"`; also each item of a list or a sweep.

    Only values with letters beyond ASCII, or a `~` at the start, are touched, and only where the
    user has not quoted anything.
    """
    found = _OVERRIDE.match(argument)
    if not found or not _needs_quotes(found["value"]) or re.search(r"[\"'$]", found["value"]):
        return argument
    items = _LIST.match(found["value"])
    quoted = ",".join(map(_quoted, (items["items"] if items else found["value"]).split(",")))
    return f"{found['key']}=[{quoted}]" if items else f"{found['key']}={quoted}"


def _quoted(value: str) -> str:
    return f'"{value.strip()}"' if _needs_quotes(value.strip()) else value


def _needs_quotes(value: str) -> bool:
    return not value.isascii() or value.startswith("~")
