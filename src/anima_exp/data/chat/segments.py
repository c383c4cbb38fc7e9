"""Divide a row into segments: which of its ids come from whom, and which are trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from anima_exp.data.chat.conversation import Message


class Kind(IntEnum):
    """What the ids of a segment are. The template's own ids belong to the message next to them."""

    system = 0  # the system prompt, and the schemas of the tools
    user = 1
    tool = 2  # the result of a tool
    assistant = 3  # an answer, trained on up to the token that ends it
    history = 4  # earlier turns with an answer that is not trained on
    prompt = 5  # system prompt or tools, with the user's turn, if they cannot be divided
    ending = 6  # what the template writes after the last answer
    text = 7  # everything, if everything is trained on

    @property
    def is_trained(self) -> bool:
        """Whether the loss is computed on these ids."""
        return self in (Kind.assistant, Kind.text)


LABELS = {
    Kind.system: "system and tools",
    Kind.user: "user",
    Kind.tool: "tool results",
    Kind.assistant: "answers, trained on",
    Kind.history: "earlier turns, not trained on",
    Kind.prompt: "system, tools and user",
    Kind.ending: "after the last answer",
    Kind.text: "all text, trained on",
}


@dataclass(frozen=True)
class Segment:
    """The ids start to end of a row."""

    start: int
    end: int
    kind: Kind
    message: int = -1  # its number in the conversation, from 0; -1: several
    turn: int = 0  # of an answer: its number among the answers of the conversation, from 1


def segments(
    messages: Sequence[Message],
    answers: Sequence[tuple[int, int, int]],
    length: int,
    *,
    opening: int,
    has_tools: bool = False,
) -> list[Segment]:
    """Return the segments of a row, which cover it without a gap.

    Args:
        answers: start, end and message of each trained answer, in order. None: the whole row is
            trained on.
        opening: how many ids the system prompt has at the start of the row; 0: unknown.
        has_tools: the schemas of tools stand somewhere before the first answer.
    """
    if not answers:
        return [Segment(0, length, Kind.text)]
    divided: list[Segment] = []
    at, following = 0, 0
    for start, end, message in answers:
        divided += _between(messages, range(following, message), at, start, opening)
        divided.append(Segment(start, end, Kind.assistant, message))
        at, following = end, message + 1
    if has_tools and divided[0].kind is Kind.user:
        divided[0] = replace(divided[0], kind=Kind.prompt)
    if at < length:
        divided.append(Segment(at, length, Kind.ending))
    return divided


def _between(
    messages: Sequence[Message], numbers: range, start: int, end: int, opening: int
) -> list[Segment]:
    """Return the segments of the messages before an answer."""
    if start == end:
        return []
    roles = {messages[number].role for number in numbers}
    if "assistant" in roles:
        return [Segment(start, end, Kind.history)]
    if "system" in roles and start == 0:
        if not 0 < opening < end:
            kind = Kind.prompt if len(roles) > 1 else Kind.system
            return [Segment(start, end, kind)]
        rest = [number for number in numbers if messages[number].role != "system"] or [numbers.stop]
        return [
            Segment(0, opening, Kind.system, numbers[0]),
            *_between(messages, range(rest[0], numbers.stop), opening, end, 0),
        ]
    kind = Kind.tool if roles == {"tool"} else Kind.user
    return [Segment(start, end, kind, numbers[0] if len(numbers) == 1 else -1)]
