"""Read conversations to be answered, and tools to be shown, from files and rows."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anima_exp.data.chat import parts, rows
from anima_exp.data.chat.conversation import Conversation, Message
from anima_exp.data.chat.rules import check
from anima_exp.errors import DataError, first_line
from anima_exp.system.paths import expanded

COLUMNS = {"messages": rows.messages, "conversations": rows.sharegpt}
_ANSWER = Message("assistant", "An answer.")


def of_row(row: Mapping[str, Any]) -> Conversation | None:
    """Return the conversation of a row of questions, or None if the row has none.

    Raises:
        DataError: if it cannot be read, or its last message is an answer. The caller adds the row.
    """
    column = next((name for name in COLUMNS if row.get(name) is not None), None)
    if column is None:
        return None
    conversation = COLUMNS[column](dict(row))
    messages = conversation.messages
    if messages and messages[-1].role == "assistant":
        raise DataError(
            f"message {len(messages)}, the last one, is the assistant's, so there is nothing to "
            "answer. Remove it"
        )
    if messages and all(each.role != "user" for each in messages):
        raise DataError("no message is the user's, so nothing asks for an answer")
    if messages:
        check(Conversation((*messages, _ANSWER), conversation.tools))
    else:
        check(conversation)
    return conversation


def question_of(conversation: Conversation) -> str:
    """Return the text of the last user turn."""
    return next(each.content for each in reversed(conversation.messages) if each.role == "user")


def as_text(conversation: Conversation) -> str:
    """Return a conversation as one text for a reader: with earlier turns, each under its role."""
    messages = conversation.messages
    if len(messages) == 1 and not conversation.tools:
        return messages[0].content
    blocks = [f"{message.role}:\n{_said(message)}" for message in messages]
    if conversation.tools:
        schemas = (json.dumps(tool, ensure_ascii=False) for tool in conversation.tools)
        blocks.insert(0, "tools that the assistant may call:\n" + "\n".join(schemas))
    return "\n\n".join(["The answer is to the last turn of this conversation.", *blocks])


def _said(message: Message) -> str:
    calls = (
        json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
        for call in message.tool_calls
    )
    return "\n".join(filter(None, (message.content, *calls)))


def read_messages(place: str, *, key: str = "messages") -> Conversation:
    """Return the conversation of a JSON file: a list of messages, or an object with `messages`.

    Raises:
        DataError: if the file cannot be read, or holds no conversation that can be answered.
    """
    value = _read(place, key)
    row = {"messages": value} if isinstance(value, list) else value
    if not isinstance(row, dict) or not any(row.get(name) is not None for name in COLUMNS):
        raise DataError(
            f"{key}={place} is neither a list of messages nor an object with `messages`. To answer "
            "several conversations, use questions=FILE."
        )
    return _named(row, f"{key}={place}")


def of_messages(messages: Sequence[Mapping[str, Any]], *, key: str) -> Conversation:
    """Return the conversation of a list of messages, each with `role` and `content`.

    Raises:
        DataError: if it cannot be read, or its last message is an answer.
    """
    return _named({"messages": list(messages)}, key)


def _named(row: Mapping[str, Any], where: str) -> Conversation:
    try:
        conversation = of_row(row)
    except DataError as error:
        raise DataError(f"{where}: {error}.") from error
    assert conversation is not None
    return conversation


def read_tools(place: str, *, key: str = "tools") -> tuple[dict[str, Any], ...]:
    """Return the tools of a JSON file: a list of JSON schemas, as chat templates take them.

    Raises:
        DataError: if the file cannot be read, or holds no tools.
    """
    value = _read(place, key)
    if isinstance(value, dict) and "tools" in value:
        value = value["tools"]
    try:
        found = parts.tools({"tools": value})
    except DataError as error:
        raise DataError(
            f"{key}={place}: {error}. Write a list of objects, each with name, description and "
            "parameters."
        ) from error
    if not found:
        raise DataError(f"{key}={place} holds no tools.")
    return found


def _read(place: str, key: str) -> Any:
    path: Path = expanded(place, key)
    try:
        return parts.parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{key}={place}: there is no such file.") from error
    except OSError as error:
        raise DataError(f"{key}={place} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        lines = " For a file with a conversation in each line, use questions=FILE."
        more = lines if path.suffix in (".jsonl", ".ndjson") else ""
        raise DataError(f"{key}={place} is not JSON: {first_line(error)}.{more}") from error
