"""Define a conversation: the messages of a row, in one form for every source format."""

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool by the assistant."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True)
class Message:
    """One message. An assistant's message has content, tool calls, or both."""

    role: Role
    content: str = ""
    thinking: str | None = None  # of an assistant, before the content; None: none is stated
    tool_calls: tuple[ToolCall, ...] = ()
    name: str | None = None  # of the tool, in a tool's result
    tool_call_id: str | None = None  # of the call that a tool's result answers
    train: bool | None = None  # whether the row says to train on it; None: it says nothing
    # The position in the row, from 1, for error messages; 0: it is from a column of its own.
    number: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Conversation:
    """The messages of a row in order, and the tools that the assistant may call."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()  # JSON schemas, as chat templates take them

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return the messages in the form that chat templates of transformers read."""
        return [_as_dict(message) for message in self.messages]


def _as_dict(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.thinking is not None:
        found["reasoning_content"] = message.thinking
    if message.tool_calls:
        found["tool_calls"] = [_call_as_dict(call) for call in message.tool_calls]
    for key in ("name", "tool_call_id"):
        if (value := getattr(message, key)) is not None:
            found[key] = value
    return found


def _call_as_dict(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"type": "function", "function": function} | ({"id": call.id} if call.id else {})
