"""Read rows of messages as conversations: `messages`, ShareGPT, and prompt and completion.

Each function reads one row and has no side effects. For a row that it cannot read it raises a
DataError that names the message. The caller adds the file and the row's number, and checks the
conversation.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from anima_exp.data.conversation import Conversation, Message, Role, ToolCall
from anima_exp.data.conversation_rules import message_error, shown
from anima_exp.data.example import Row, missing_column
from anima_exp.errors import DataError

_CALL = "call"  # a message that is a tool call of the assistant, as in ShareGPT
ROLE_NAMES: dict[str, Role | Literal["call"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "function_call": "call",
    "tool_call": "call",
}
_TRAIN = ("train", "weight", "loss_weight", "loss")
_THINKING = ("reasoning_content", "thinking", "reasoning")


def messages(row: Row) -> Conversation:
    """Read the column messages: a list of objects with role and content."""
    return _conversation(row, _messages(row, "messages"))


def sharegpt(row: Row) -> Conversation:
    """Read the column conversations: a list of objects with from and value.

    A column `chosen` with one message is its last turn, as in preference data.
    """
    found = _messages(row, "conversations")
    if isinstance(row.get("chosen"), Mapping):
        found = _joined([*found, _message(row["chosen"], len(row["conversations"]) + 1)])
    return _conversation(row, found)


def prompt_completion_chat(row: Row) -> Conversation:
    """Read the columns prompt and completion, where one or both are lists of messages.

    The prompt's turns are not to be trained on unless they say otherwise; the completion's are.
    """
    prompt = _messages(row, "prompt", text_is="user")
    start = len(prompt) + 1 if isinstance(row["prompt"], str) else len(row["prompt"]) + 1
    completion = _messages(row, "completion", start=start, text_is="assistant")
    for message in completion:
        if message.role != "assistant" and message.role != "tool":
            raise message_error(message.number, message.role, "it is in the column 'completion'")
    found = [_trained(message, False) for message in prompt]
    found += [_trained(message, message.role == "assistant") for message in completion]
    return _conversation(row, found)


def with_system(row: Row, found: list[Message]) -> list[Message]:
    """Return the messages with the text of the column system before them, if it has any."""
    prompts = [row.get(column) for column in ("system", "system_prompt")]
    texts = [prompt for prompt in prompts if prompt is not None and prompt != ""]
    if not all(isinstance(text, str) for text in texts):
        raise DataError("column 'system' is not text")
    texts = list({text: None for text in texts if text.strip()})
    if found and found[0].role == "system" and texts != [found[0].content] and texts:
        raise message_error(found[0].number, "system", "the row has a column 'system' too")
    if len(texts) > 1:
        raise DataError("the columns 'system' and 'system_prompt' differ")
    if not texts or (found and found[0].role == "system"):
        return found
    return [Message("system", texts[0], number=0), *found]


def assistant(text: str, number: int) -> Message:
    """Return the assistant's message with this text, its thinking apart."""
    thinking, content = split_thinking(text, number)
    return Message("assistant", content, thinking=thinking, number=number)


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


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: the text is not JSON. NaN and Infinity are not.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _conversation(row: Row, found: list[Message]) -> Conversation:
    return Conversation(tuple(with_system(row, found)), _tools(row))


def _trained(message: Message, train: bool) -> Message:
    return message if message.train is not None else replace(message, train=train)


def _messages(
    row: Row, column: str, *, start: int = 1, text_is: Role | None = None
) -> list[Message]:
    if column not in row:
        raise missing_column(row, column)
    entries = row[column]
    if isinstance(entries, str) and text_is:
        if text_is == "assistant":
            return [assistant(entries, start)]
        return [Message(text_is, entries, number=start)]
    if not isinstance(entries, list):
        raise DataError(f"column '{column}' is {_kind(entries)}, not a list of messages")
    return _joined([_message(entry, number) for number, entry in enumerate(entries, start)])


def _joined(found: list[Message]) -> list[Message]:
    """Join a message that only calls tools to the assistant's message before it."""
    joined: list[Message] = []
    for message in found:
        before = joined[-1] if joined else None
        only_calls = message.tool_calls and not message.content and message.thinking is None
        if before is None or before.role != "assistant" or not only_calls:
            joined.append(message)
            continue
        if None not in (before.train, message.train) and before.train != message.train:
            raise message_error(
                message.number,
                "assistant",
                "its call belongs to the turn before it, but only one "
                "of the two is to be trained on",
            )
        train = message.train if before.train is None else before.train
        calls = before.tool_calls + message.tool_calls
        joined[-1] = replace(before, tool_calls=calls, train=train)
    return joined


def _message(entry: object, number: int) -> Message:
    if not isinstance(entry, Mapping):
        raise DataError(f"message {number} is {_kind(entry)}, not an object")
    name = _one(entry, ("role", "from"), number, "of unknown role")
    if not isinstance(name, str):
        raise message_error(number, name, "no role, which the field 'role' or 'from' states")
    role = ROLE_NAMES.get(name.strip().lower())
    if role is None:
        raise message_error(
            number, name, "unknown role. The known roles are system, user, assistant, tool"
        )
    content = _one(entry, ("content", "value"), number, name)
    train = _train(entry, number, name)
    if role == _CALL:
        return Message(
            "assistant", tool_calls=_calls(content, number, name), train=train, number=number
        )
    text, thinking, calls = _parts(content, number, name)
    field_calls = entry.get("tool_calls") or ()
    if entry.get("function_call"):  # the older form of one call
        field_calls = [entry["function_call"]]
    if field_calls:
        calls += _calls(field_calls, number, name)
    stated = _one(entry, _THINKING, number, name)
    if stated is not None and not isinstance(stated, str):
        raise message_error(number, name, f"the thinking is {_kind(stated)}, not text")
    if role == "assistant":
        inside, text = split_thinking(text, number)
        thoughts = [thought for thought in (thinking, stated, inside) if thought is not None]
        if len([thought for thought in thoughts if thought.strip()]) > 1:
            raise message_error(number, name, "its thinking is given twice")
        thinking = max(thoughts, key=len, default=None)
    elif stated:
        raise message_error(number, name, "only the assistant can have thinking")
    return Message(
        role,
        text,
        thinking=thinking,
        tool_calls=calls,
        name=_label(entry, "name", number, role) if role == "tool" else None,
        tool_call_id=_label(entry, "tool_call_id", number, role) if role == "tool" else None,
        train=train,
        number=number,
    )


def _parts(content: object, number: int, role: str) -> tuple[str, str | None, tuple[ToolCall, ...]]:
    """Return the text, the thinking and the tool calls of a message's content."""
    if content is None or isinstance(content, str):
        return content or "", None, ()
    if not isinstance(content, list):
        raise message_error(number, role, f"its content is {_kind(content)}, not text")
    text, thinking, calls = "", None, ()
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(part, str):
            kind, value = "text", part
        elif kind in ("text", "thinking", "reasoning", "tool_call"):
            value = _one(part, (kind, "value"), number, role)
        else:
            raise message_error(
                number,
                role,
                f"a part of type '{shown(kind)}'. Only text, reasoning and tool_call can be read",
            )
        if kind == "tool_call":
            calls += _calls(value, number, role)
            continue
        if not isinstance(value, str):
            raise message_error(number, role, f"a part of type '{kind}' is {_kind(value)}")
        # A chat template writes the thinking first and the calls last.
        if calls or (kind != "text" and text):
            before = "a tool call" if calls else "its text"
            raise message_error(number, role, f"a part of type '{kind}' is after {before}")
        if kind == "text":
            text += value
        else:
            thinking = (thinking or "") + value
    return text, thinking, calls


def _calls(value: object, number: int, role: str) -> tuple[ToolCall, ...]:
    value = _decoded(value, number, role, "the tool call")
    return tuple(
        _call(item, number, role) for item in (value if isinstance(value, list) else [value])
    )


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
        raise message_error(number, role, f"{what} are {_kind(arguments)}, not an object")
    label = item.get("id") if isinstance(item, Mapping) else None
    return ToolCall(call["name"], dict(arguments), None if label is None else str(label))


def _decoded(value: object, number: int, role: str, what: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError as error:
        verb = "are" if what.startswith("the arguments") else "is"
        raise message_error(number, role, f"{what} {verb} not JSON ({shown(str(error))})") from None


def _tools(row: Row) -> tuple[dict[str, Any], ...]:
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
        raise DataError(f"column 'tools' is not JSON ({shown(str(error))})") from None
    return tuple(found)


def _train(entry: Mapping[str, Any], number: int, role: str) -> bool | None:
    values = {name: entry[name] for name in _TRAIN if entry.get(name) is not None}
    for name, value in values.items():
        if value not in (0, 1):
            raise message_error(number, role, f"{name} is {shown(value)}. Use 0 or 1")
    if len(set(values.values())) > 1:
        raise message_error(number, role, f"the fields {' and '.join(values)} differ")
    return bool(next(iter(values.values()))) if values else None


def _label(entry: Mapping[str, Any], field: str, number: int, role: str) -> str | None:
    value = entry.get(field)
    if value is not None and not isinstance(value, str | int):
        raise message_error(number, role, f"{field} is {_kind(value)}, not text")
    return None if value is None or value == "" else str(value)


def _one(entry: Mapping[str, Any], names: tuple[str, ...], number: int, role: str) -> Any:
    """Return the value of the one field that is given; None if none is."""
    given = [name for name in names if entry.get(name) is not None]
    if len(given) > 1 and len({str(entry[name]) for name in given}) > 1:
        raise message_error(number, role, f"it has both '{given[0]}' and '{given[1]}'")
    return entry[given[0]] if given else None


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", dict: "an object"}
    names |= {str: "text", list: "a list", type(None): "null"}
    return names.get(type(value), type(value).__name__)
