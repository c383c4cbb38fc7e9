"""Read the parts of one message: its text, its thinking and its tool calls; and a row's tools."""

import json
from collections.abc import Mapping
from typing import Any

from anima_exp.data.chat.conversation import ToolCall
from anima_exp.data.chat.rules import message_error, shown
from anima_exp.data.example import Row
from anima_exp.errors import DataError


def content_parts(
    content: object, number: int, role: str
) -> tuple[str, str | None, tuple[ToolCall, ...]]:
    """Return the text, the thinking and the tool calls of a message's content."""
    if content is None or isinstance(content, str):
        return content or "", None, ()
    if not isinstance(content, list):
        raise message_error(number, role, f"its content is {kind_of(content)}, not text")
    text, thinking = "", None
    calls: tuple[ToolCall, ...] = ()
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(part, str):
            kind, value = "text", part
        elif kind in ("text", "thinking", "reasoning", "tool_call"):
            value = one(part, (kind, "value"), number, role)
        else:
            raise message_error(
                number,
                role,
                f"a part of type '{shown(kind)}'. Only text, reasoning and tool_call are read",
            )
        if kind == "tool_call":
            calls += tool_calls(value, number, role)
            continue
        if not isinstance(value, str):
            raise message_error(number, role, f"a part of type '{kind}' is {kind_of(value)}")
        # A chat template writes the thinking first and the calls last.
        if calls or (kind != "text" and text):
            before = "a tool call" if calls else "its text"
            raise message_error(number, role, f"a part of type '{kind}' is after {before}")
        if kind == "text":
            text += value
        else:
            thinking = (thinking or "") + value
    return text, thinking, calls


def split_thinking(text: str, number: int) -> tuple[str | None, str]:
    """Split `<think>...</think>` from the start of an assistant's text.

    Returns:
        The thinking and the rest, without the line breaks between them. The thinking is None if
        there is no such block, and "" if it is empty.
    """
    start, end = "<think>", "</think>"
    if not text.lstrip().startswith(start):
        if end in text and start not in text:
            raise message_error(number, "assistant", f"it has {end} but no {start} before it")
        return None, text
    thinking, closed, content = text.lstrip().removeprefix(start).partition(end)
    if not closed:
        raise message_error(number, "assistant", f"it begins with {start} but has no {end}")
    return thinking.strip("\n"), content.lstrip("\n")


def tool_calls(value: object, number: int, role: str) -> tuple[ToolCall, ...]:
    """Return the tool calls in a list of calls, in one call, or in the JSON text of either."""
    value = _decoded(value, number, role, "the tool call")
    return tuple(
        _call(item, number, role) for item in (value if isinstance(value, list) else [value])
    )


def tools(row: Row) -> tuple[dict[str, Any], ...]:
    """Return the tools of a row, each as {"type": "function", "function": its schema}."""
    value = row.get("tools")
    found = []
    try:
        value = parse_json(value) if isinstance(value, str) and value.strip() else value or []
        for tool in value if isinstance(value, list) else [value]:
            tool = parse_json(tool) if isinstance(tool, str) else tool
            schema = tool.get("function", tool) if isinstance(tool, Mapping) else None
            if not isinstance(schema, Mapping) or not isinstance(schema.get("name"), str):
                raise DataError("column 'tools' has a tool without a name")
            bare = schema is tool
            found.append({"type": "function", "function": dict(tool)} if bare else dict(tool))
    except ValueError as error:
        raise DataError(f"column 'tools' is not JSON ({error})") from None
    return tuple(found)


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: the text is not JSON. NaN and Infinity are not.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def one(entry: Mapping[str, Any], names: tuple[str, ...], number: int, role: str) -> Any:
    """Return the value of the one field that is given; None if none is."""
    given = [name for name in names if entry.get(name) is not None]
    if len(given) > 1 and len({str(entry[name]) for name in given}) > 1:
        raise message_error(number, role, f"it has both '{given[0]}' and '{given[1]}'")
    return entry[given[0]] if given else None


def kind_of(value: object) -> str:
    """Return what kind of JSON value this is, for an error message."""
    names = {bool: "true or false", int: "a number", float: "a number", dict: "an object"}
    names |= {str: "text", list: "a list", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _call(item: object, number: int, role: str) -> ToolCall:
    item = _decoded(item, number, role, "the tool call")
    call = item.get("function", item) if isinstance(item, Mapping) else item
    if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
        raise message_error(number, role, "a tool call without the name of its tool")
    what = f"the arguments of '{shown(call['name'])}'"
    arguments = _decoded(call.get("arguments"), number, role, what)
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping):
        raise message_error(number, role, f"{what} are {kind_of(arguments)}, not an object")
    label = item.get("id") if isinstance(item, Mapping) else None
    return ToolCall(call["name"], dict(arguments), None if label is None else str(label))


def _decoded(value: object, number: int, role: str, what: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError as error:
        verb = "are" if what.startswith("the arguments") else "is"
        raise message_error(number, role, f"{what} {verb} not JSON ({error})") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
