"""Check that a conversation can be trained on, with errors that name the message.

The errors name neither the file nor the row. The caller adds them.
"""

import json
from collections.abc import Collection, Iterable
from typing import get_args

from anima_exp.data.chat.conversation import Conversation, Message, Role
from anima_exp.data.example import has_lone_surrogate
from anima_exp.errors import DataError

ROLES: tuple[Role, ...] = get_args(Role)


def check(
    conversation: Conversation,
    *,
    assistant_first: bool = False,
    alternate: Collection[str] = (),
) -> None:
    """Raise DataError for the first rule that the conversation breaks.

    Args:
        assistant_first: allow an assistant's turn before the first user's turn.
        alternate: the roles of which two turns in a row are forbidden. Some chat templates
            refuse two of the user, or of the assistant.
    """
    messages = conversation.messages
    if not messages:
        raise DataError("the conversation has no messages")
    for position, message in enumerate(messages, start=1):
        _check_alone(message, position)
    if not any(message.role == "assistant" for message in messages):
        raise DataError(
            "no message is the assistant's, so nothing can be learned from the conversation"
        )
    _check_order(messages, assistant_first=assistant_first, alternate=alternate)
    _check_tool_results(messages)
    if has_lone_surrogate(json.dumps(conversation.tools, ensure_ascii=False, default=str)):
        raise DataError("the tools contain half a character (a lone surrogate)")


def message_error(number: int | None, role: object, problem: str) -> DataError:
    """Return the error of one message: its number from 1, its role and the problem."""
    if number == 0:
        return DataError(f"the {role} prompt of the row: {problem}")
    return DataError(f"message {number} ({shown(role)}): {problem}")


def shown(value: object) -> str:
    """Return a value as one short line of printable characters."""
    text = value if isinstance(value, str) else repr(value)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 40 else f"{text[:37]}..."


def _error(message: Message, position: int, problem: str) -> DataError:
    number = position if message.number is None else message.number
    return message_error(number, message.role, problem)


def _check_alone(message: Message, position: int) -> None:
    if message.role not in ROLES:
        raise _error(message, position, f"unknown role. The known roles are {', '.join(ROLES)}")
    if message.role != "assistant" and (message.tool_calls or message.thinking):
        part = "tool calls" if message.tool_calls else "thinking"
        raise _error(message, position, f"only the assistant can have {part}")
    # A tool may return nothing. That is a result too.
    if not message.content.strip() and not message.tool_calls and message.role != "tool":
        what = "it has thinking but no answer" if message.thinking else "the turn is empty"
        raise _error(message, position, what)
    for call in message.tool_calls:
        if not isinstance(call.arguments, dict):
            raise _error(
                message, position, f"the arguments of '{shown(call.name)}' are not an object"
            )
    text = "\n".join(_texts(message))
    if has_lone_surrogate(text):
        raise _error(message, position, "it contains half a character (a lone surrogate)")
    if "\ufdd0" in text or "\ufdd1" in text:  # data/encode.py hides control tokens with them
        raise _error(message, position, "it contains U+FDD0 or U+FDD1, which are no characters")


def _texts(message: Message) -> Iterable[str]:
    yield message.content
    yield from filter(None, (message.thinking, message.name, message.tool_call_id))
    for call in message.tool_calls:
        yield call.name
        yield json.dumps(call.arguments, ensure_ascii=False, default=str)


def _check_order(
    messages: tuple[Message, ...], *, assistant_first: bool, alternate: Collection[str]
) -> None:
    before: Message | None = None
    user_before = False
    for position, message in enumerate(messages, start=1):
        if message.role == "assistant" and not user_before and not assistant_first:
            raise _error(message, position, "the assistant's turn is before the first user's turn")
        twice = before is not None and before.role == message.role
        if twice and message.role in alternate:
            raise _error(
                message,
                position,
                f"two turns of the {message.role} in a row, which the template forbids",
            )
        user_before = user_before or message.role == "user"
        before = message


def _check_tool_results(messages: tuple[Message, ...]) -> None:
    """Check that each tool result answers a call of the assistant's turn before it."""
    open_ids: list[str | None] = []
    for position, message in enumerate(messages, start=1):
        if message.role != "tool":
            open_ids = [call.id for call in message.tool_calls]
            continue
        if not open_ids:
            raise _error(message, position, "a tool result without a call")
        answered = message.tool_call_id
        if answered is None or None in open_ids:  # then the order of the results tells
            open_ids.pop(0)
        elif answered in open_ids:
            open_ids.remove(answered)
        else:
            raise _error(
                message,
                position,
                f"a tool result for the call '{shown(answered)}', which the "
                "turn before it does not make",
            )
