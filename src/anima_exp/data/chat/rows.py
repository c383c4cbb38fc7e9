"""Read rows of messages as conversations: `messages`, ShareGPT, and prompt and completion.

Each function reads one row and has no side effects. For a row that it cannot read it raises a
DataError that names the message. The caller adds the file and the row's number, and checks the
conversation.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from anima_exp.data.chat import parts
from anima_exp.data.chat.conversation import Conversation, Message, Role
from anima_exp.data.chat.rules import message_error, shown
from anima_exp.data.example import Row, missing_column
from anima_exp.errors import DataError

# "call": the message is a tool call of the assistant, as in ShareGPT.
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
# Parts of a turn that would be missing from what the model sees.
_UNREADABLE = ("refusal", "audio", "audios", "image", "images", "video", "videos")
_THINKING = ("reasoning_content", "thinking", "reasoning")


def messages(row: Row) -> Conversation:
    """Read the column messages: a list of objects with role and content."""
    return _conversation(row, _messages(row, "messages"))


def sharegpt(row: Row) -> Conversation:
    """Read the column conversations: a list of objects with from and value.

    A column `chosen` with one message is its last turn, as in preference data.
    """
    turns = _messages(row, "conversations")
    if row.get("chosen") is not None:
        turns = _joined([*turns, _message(row["chosen"], len(row["conversations"]) + 1)])
    return _conversation(row, turns)


def prompt_completion_chat(row: Row) -> Conversation:
    """Read the columns prompt and completion, where one or both are lists of messages.

    The prompt's turns are not to be trained on unless they say otherwise; the completion's are.
    """
    prompt = _messages(row, "prompt", text_is="user")
    start = 2 if isinstance(row["prompt"], str) else len(row["prompt"]) + 1
    completion = _messages(row, "completion", start=start, text_is="assistant")
    for message in completion:
        if message.role != "assistant" and message.role != "tool":
            raise message_error(message.number, message.role, "it is in the column 'completion'")
    turns = [_trained(message, False) for message in prompt]
    turns += [_trained(message, message.role == "assistant") for message in completion]
    return _conversation(row, turns)


def with_system(row: Row, turns: list[Message]) -> list[Message]:
    """Return the messages with the text of the column system before them, if it has any."""
    prompts: list[str] = []
    for column in ("system", "system_prompt"):
        value = row.get(column)
        if value is not None and not isinstance(value, str):
            raise DataError(f"column '{column}' is {parts.kind_of(value)}, not text")
        if value and value.strip() and value not in prompts:
            prompts.append(value)
    if len(prompts) > 1:
        raise DataError("the columns 'system' and 'system_prompt' differ")
    if not prompts:
        return turns
    if turns and turns[0].role == "system":
        if turns[0].content != prompts[0]:
            raise message_error(turns[0].number, "system", "the row has a column 'system' too")
        return turns
    return [Message("system", prompts[0], number=0), *turns]


def assistant(text: str, number: int) -> Message:
    """Return the assistant's message with this text, its thinking apart."""
    thinking, content = parts.split_thinking(text, number)
    return Message("assistant", content, thinking=thinking, number=number)


def _conversation(row: Row, turns: list[Message]) -> Conversation:
    return Conversation(tuple(with_system(row, turns)), parts.tools(row))


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
        raise DataError(f"column '{column}' is {parts.kind_of(entries)}, not a list of messages")
    return _joined([_message(entry, number) for number, entry in enumerate(entries, start)])


def _joined(turns: list[Message]) -> list[Message]:
    """Join a message that only calls tools to the assistant's message before it."""
    joined: list[Message] = []
    for message in turns:
        before = joined[-1] if joined else None
        only_calls = message.tool_calls and not message.content and message.thinking is None
        if before is None or before.role != "assistant" or not only_calls:
            joined.append(message)
            continue
        if None not in (before.train, message.train) and before.train != message.train:
            raise message_error(
                message.number,
                "assistant",
                "its call belongs to the turn before it, of which the training flag differs",
            )
        train = message.train if before.train is None else before.train
        calls = before.tool_calls + message.tool_calls
        joined[-1] = replace(before, tool_calls=calls, train=train)
    return joined


def _message(entry: object, number: int) -> Message:
    if not isinstance(entry, Mapping):
        raise DataError(f"message {number} is {parts.kind_of(entry)}, not an object")
    name = parts.one(entry, ("role", "from"), number, "of unknown role")
    if not isinstance(name, str):
        raise message_error(number, "no role", "its field 'role' or 'from' is not text")
    role = ROLE_NAMES.get(name.strip().lower())
    if role is None:
        raise message_error(
            number, name, "unknown role. The known roles are system, user, assistant, tool"
        )
    for field in _UNREADABLE:
        if entry.get(field):
            raise message_error(number, name, f"its field '{field}' cannot be read")
    content = parts.one(entry, ("content", "value"), number, name)
    train = _train(entry, number, name)
    if role == "call":
        return Message(
            "assistant",
            tool_calls=parts.tool_calls(content, number, name),
            train=train,
            number=number,
        )
    text, thinking, calls = parts.content_parts(content, number, name)
    for field in ("tool_calls", "function_call"):  # the second is the older form of one call
        if entry.get(field):
            if calls:
                raise message_error(number, name, "its tool calls are given twice")
            calls = parts.tool_calls(entry[field], number, name)
    stated = parts.one(entry, _THINKING, number, name)
    if stated is not None and not isinstance(stated, str):
        raise message_error(number, name, f"the thinking is {parts.kind_of(stated)}, not text")
    if role == "assistant":
        inside, text = parts.split_thinking(text, number)
        # An empty field states nothing. An empty block in the text is part of the answer.
        thoughts = [thought for thought in (thinking, stated, inside) if thought]
        if len(thoughts) > 1:
            raise message_error(number, name, "its thinking is given twice")
        thinking = thoughts[0] if thoughts else inside
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
        raise message_error(number, role, f"{field} is {parts.kind_of(value)}, not text")
    return None if value is None or value == "" else str(value)
