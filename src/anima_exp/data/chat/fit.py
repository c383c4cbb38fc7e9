"""Shorten a conversation that is longer than data.max_tokens, by whole turns.

An answer is trained on to its end or not at all. A round is a user's turn with everything up to
the next user's turn: answers, tool calls and their results. The system prompt is always kept.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from anima_exp.config import TooLong, TrainOn
from anima_exp.data.chat.conversation import Conversation
from anima_exp.data.chat.masks import MaskedRow
from anima_exp.errors import DataError

Rows = Callable[[Conversation], list[MaskedRow]]


@dataclass(frozen=True)
class Part:
    """Some messages of a conversation, as a conversation."""

    conversation: Conversation
    numbers: Sequence[int]  # of each message in the whole conversation, from 0


class FittedRow(NamedTuple):
    """A row, and the part of the conversation that it shows."""

    row: MaskedRow
    part: Part

    @property
    def answers(self) -> list[int]:
        """The numbers of its trained answers in the whole conversation."""
        return [self.part.numbers[span.message] for span in self.row.spans]


def fit(
    conversation: Conversation,
    rows: list[MaskedRow],
    limit: int,
    policy: TooLong,
    *,
    train_on: TrainOn,
    again: Rows,
    counts: Counter[str],
) -> list[FittedRow]:
    """Return the rows of a conversation, none of which is longer than `limit` tokens.

    Args:
        rows: the rows of the whole conversation.
        again: returns the rows of a shorter conversation.
        counts: too_long, turns_cut, dropped and pieces are added to it. A turn that is cut is an
            answer that would be trained on without the limit.
    """
    whole = Part(conversation, range(len(conversation.messages)))
    complete = [FittedRow(row, whole) for row in rows]
    if all(len(row.ids) <= limit for row in rows):
        return complete
    work = _Fitting(conversation, limit, train_on, again)
    if policy is TooLong.drop_row:
        kept = []
    elif policy is TooLong.cut_end:
        kept = work.cut_end(complete)
    elif policy is TooLong.drop_oldest or train_on is TrainOn.last:
        kept = work.drop_oldest()
    else:
        kept = work.split(complete)
    counts["too_long"] += 1
    counts["turns_cut"] += len(_answers(complete) - _answers(kept))
    counts["dropped"] += not kept
    if policy is TooLong.split:
        counts["pieces"] += max(len(kept) - len(rows), 0)
    return kept


def _answers(rows: Iterable[FittedRow]) -> set[int]:
    """Return the numbers of the answers in rows: of all of them, if everything is trained on."""
    return {number for each in rows for number in each.answers or _assistants(each.part)}


def _assistants(part: Part) -> list[int]:
    pairs = zip(part.numbers, part.conversation.messages, strict=True)
    return [number for number, message in pairs if message.role == "assistant"]


class _Fitting:
    """The ways to shorten one conversation."""

    def __init__(
        self, conversation: Conversation, limit: int, train_on: TrainOn, again: Rows
    ) -> None:
        self.conversation, self.limit = conversation, limit
        self.train_on, self.again = train_on, again
        self.rounds = _rounds(conversation)
        self._known: dict[tuple[int, int], list[FittedRow] | None] = {}

    def cut_end(self, rows: list[FittedRow]) -> list[FittedRow]:
        if self.train_on in (TrainOn.last, TrainOn.all):  # another answer is the last then
            return self._most_rounds(0)[0]
        # A row up to the end of an answer is the row of a conversation that ends there.
        return self._cut(rows, len(self.conversation.messages))

    def drop_oldest(self) -> list[FittedRow]:
        count = len(self.rounds)
        # The fewer rounds are left, the shorter are the rows.
        first = bisect_left(range(count), True, key=lambda n: self._fitting(n, count) is not None)
        return (self._fitting(first, count) or []) if first < count else []

    def split(self, rows: list[FittedRow]) -> list[FittedRow]:
        kept: list[FittedRow] = []
        begin = 0
        if self.train_on is TrainOn.all:
            while begin < len(self.rounds):
                found, begin = self._most_rounds(begin)
                kept += found
            return kept
        while True:
            found = self._cut(rows, len(self.conversation.messages))
            # A missing answer of the first round does not fit into any row.
            later = self.rounds[begin].stop
            missing = {number for number in _answers(rows) - _answers(found) if number >= later}
            if not missing:
                return kept + found
            # The round of the first missing answer begins the next part.
            begin = next(n for n, each in enumerate(self.rounds) if min(missing) in each)
            kept += self._cut(found, self.rounds[begin].start)
            part = self._part(begin, len(self.rounds))
            try:
                rows = [FittedRow(row, part) for row in self.again(part.conversation)]
            except DataError:  # the template does not accept the rest, which is counted as cut
                return kept

    def _cut(self, rows: list[FittedRow], stop: int) -> list[FittedRow]:
        """Return rows up to the last answer before message `stop` that ends within the limit."""
        found = []
        for each in rows:
            row, part = each
            spans = tuple(
                span
                for span in row.spans
                if span.end <= self.limit and part.numbers[span.message] < stop
            )
            if spans == row.spans and len(row.ids) <= self.limit:
                found.append(each)
            elif spans:
                end = spans[-1].end
                short = replace(row, ids=row.ids[:end], mask=row.mask[:end], spans=spans)
                found.append(FittedRow(short, part))
        return found

    def _most_rounds(self, begin: int) -> tuple[list[FittedRow], int]:
        """Return the rows of as many rounds as fit, and the number of the next round.

        A round that is too long alone is left out.
        """
        stops = range(begin + 1, len(self.rounds) + 1)
        fitting = bisect_left(stops, True, key=lambda stop: self._fitting(begin, stop) is None)
        if not fitting:
            return [], begin + 1
        return self._fitting(begin, begin + fitting) or [], begin + fitting

    def _fitting(self, begin: int, stop: int) -> list[FittedRow] | None:
        """Return all rows of some rounds; None if one is too long.

        There are none if nothing is trained on in these rounds.
        """
        if (begin, stop) not in self._known:
            part = self._part(begin, stop)
            try:
                rows = self.again(part.conversation) if _assistants(part) else []
            except DataError:  # none of these answers is trained on
                rows = []
            fits = all(len(row.ids) <= self.limit for row in rows)
            self._known[begin, stop] = [FittedRow(row, part) for row in rows] if fits else None
        return self._known[begin, stop]

    def _part(self, begin: int, stop: int) -> Part:
        """Return some rounds, after what precedes the first round of the conversation."""
        messages = self.conversation.messages
        before = range(self.rounds[0].start)
        numbers = [number for each in (before, *self.rounds[begin:stop]) for number in each]
        chosen = tuple(messages[number] for number in numbers)
        return Part(replace(self.conversation, messages=chosen), numbers)


def _rounds(conversation: Conversation) -> list[range]:
    """Return the numbers of the messages of each round."""
    messages = conversation.messages
    starts = [
        number
        for number, message in enumerate(messages)
        if message.role == "user" and (number == 0 or messages[number - 1].role != "user")
    ]
    ends = [*starts[1:], len(messages)]
    return [range(start, end) for start, end in zip(starts, ends, strict=True)]
