"""Decide which messages are trained on, and what becomes of an assistant's thinking."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from anima_exp.config import Thinking, TrainOn
from anima_exp.data.chat.conversation import Conversation, Message
from anima_exp.errors import DataError

SWITCH = "enable_thinking"  # the variable by which templates switch thinking on and off


class NothingTrainedError(DataError):
    """The row itself says that none of its answers is trained on.

    Such a conversation is left out and counted. It is not a bad row.
    """


def with_thinking(conversation: Conversation, thinking: Thinking) -> Conversation:
    """Return the conversation, with `thinking=drop` without any thinking."""
    if thinking != "drop":
        return conversation
    messages = tuple(replace(message, thinking=None) for message in conversation.messages)
    return replace(conversation, messages=messages)


def variables(thinking: Thinking, *, thinks: bool) -> Mapping[str, Any]:
    """Return the variables by which templates switch an answer's thinking on and off.

    * keep: each answer in the mode in which it was written, so `thinks` decides.
    * drop: all answers in the mode without thinking.
    * template: all answers in the template's default mode.
    """
    return {} if thinking == "template" else {SWITCH: thinking == "keep" and thinks}


def trained(messages: Sequence[Message], train_on: TrainOn) -> list[int]:
    """Return the numbers of the messages to train on, from 0.

    Raises:
        DataError: there are none, or one of them has no text or follows no other message.
    """
    if not messages:
        raise DataError("the conversation has no message")
    if train_on == "all":  # up to the last message
        return [len(messages) - 1]
    answers = [number for number, message in enumerate(messages) if message.role == "assistant"]
    if train_on == "message":
        for number, message in enumerate(messages, 1):
            if message.train and message.role != "assistant":
                raise DataError(
                    f"message {number} is to be trained on, but its role is {message.role}; "
                    "data.train_on=message trains on assistant messages only"
                )
    # A message that says nothing is trained on, as in OpenAI's and other formats.
    wanted = [number for number in answers if messages[number].train is not False]
    if answers and not wanted:
        raise NothingTrainedError("no message of the conversation is trained on")
    answers = wanted[-1:] if train_on == "last" else wanted
    if not answers:
        raise DataError("no message of the conversation is trained on")
    for number in answers:
        message = messages[number]
        if number == 0:
            raise DataError("message 1 is an assistant's, so nothing asks for it")
        if not (message.content.strip() or message.tool_calls):
            raise DataError(f"message {number + 1}, an assistant's, has no text")
    return answers
