"""Shorten a conversation that is longer than data.max_tokens, by whole turns.

An answer is trained on to its end or not at all. A round is a user's turn with everything up to
the next user's turn: answers, tool calls and their results. The system prompt is always kept.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from anima_exp.config import TooLong, TrainOn
from anima_exp.data.chat.conversation import Conversation
from anima_exp.data.chat.masks import MaskedRow
from anima_exp.errors import DataError

FittedRow = tuple[MaskedRow, Conversation]  # a row, and the conversation that it shows
Rows = Callable[[Conversation], list[MaskedRow]]


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
        counts: too_long, turns_cut, dropped and pieces are added to it.
    """
    if all(len(row.ids) <= limit for row in rows):
        return [(row, conversation) for row in rows]
    work = _Fitting(limit, train_on, again)
    if policy is TooLong.drop_row:
        kept = [(row, conversation) for row in rows if len(row.ids) <= limit]
    elif policy is TooLong.cut_end:
        kept = work.cut_end(conversation, rows)
    elif policy is TooLong.drop_oldest or train_on is TrainOn.last:
        kept = work.drop_oldest(conversation)
    else:
        kept = work.split(conversation, rows)
    counts["too_long"] += 1
    counts["turns_cut"] += _answers(rows) - _answers([row for row, _ in kept])
    counts["dropped"] += not kept
    if policy is TooLong.split:
        counts["pieces"] += max(len(kept) - 1, 0)
    return kept


def _answers(rows: Sequence[MaskedRow]) -> int:
    return sum(len(row.spans) for row in rows)


class _Fitting:
    """The ways to shorten a conversation."""

    def __init__(self, limit: int, train_on: TrainOn, again: Rows) -> None:
        self.limit, self.train_on, self.again = limit, train_on, again

    def cut_end(self, conversation: Conversation, rows: list[MaskedRow]) -> list[FittedRow]:
        if self.train_on in (TrainOn.last, TrainOn.all):  # another answer is the last then
            return self._most_rounds(conversation)[0]
        # A row up to the end of an answer is the row of a conversation that ends there.
        return [
            (short, conversation) for row in rows if (short := _cut(row, self.limit)) is not None
        ]

    def drop_oldest(self, conversation: Conversation) -> list[FittedRow]:
        rounds = _rounds(conversation)

        def rest(first: int) -> list[FittedRow]:
            return self._whole(_part(conversation, rounds[first:]))

        # The fewer rounds are left, the shorter are the rows.
        first = bisect_left(range(len(rounds)), True, key=lambda number: bool(rest(number)))
        return rest(first) if first < len(rounds) else []

    def split(self, conversation: Conversation, rows: list[MaskedRow]) -> list[FittedRow]:
        kept: list[FittedRow] = []
        while True:
            rounds = _rounds(conversation)
            if self.train_on is TrainOn.all:
                found, used = self._most_rounds(conversation)
            else:
                found = self.cut_end(conversation, rows)
                shown = {span.message for row, _ in found for span in row.spans}
                missing = [s.message for row in rows for s in row.spans if s.message not in shown]
                if not missing:
                    return kept + found
                first = min(missing)
                used = next(n for n, each in enumerate(rounds) if first in each)
                found = [
                    (row, part) for row, part in found if row.spans[-1].message < first
                ]  # others follow in the next part
            kept += found
            rounds = rounds[max(used, 1) :]  # a round that is too long alone is left out
            if not rounds:
                return kept
            conversation = _part(conversation, rounds)
            try:
                rows = self.again(conversation)
            except DataError:  # no answer of the rest is trained on
                return kept

    def _whole(self, conversation: Conversation) -> list[FittedRow]:
        """Return all rows of a conversation, or none if one is too long."""
        try:
            rows = self.again(conversation)
        except DataError:  # no answer of the rest is trained on
            return []
        fits = all(len(row.ids) <= self.limit for row in rows)
        return [(row, conversation) for row in rows] if fits else []

    def _most_rounds(self, conversation: Conversation) -> tuple[list[FittedRow], int]:
        """Return the rows of as many first rounds as fit, and how many these are."""
        rounds = _rounds(conversation)

        def part(count: int) -> list[FittedRow]:
            return self._whole(_part(conversation, rounds[:count]))

        count = bisect_left(range(1, len(rounds) + 1), True, key=lambda n: not part(n))
        return (part(count), count) if count else ([], 0)


def _cut(row: MaskedRow, limit: int) -> MaskedRow | None:
    """Return the row up to the last answer that ends within the limit; None if there is none."""
    if len(row.ids) <= limit:
        return row
    spans = tuple(span for span in row.spans if span.end <= limit)
    if not spans:
        return None
    end = spans[-1].end
    return replace(row, ids=row.ids[:end], mask=row.mask[:end], spans=spans)


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


def _part(conversation: Conversation, rounds: Sequence[range]) -> Conversation:
    """Return the conversation with some of its rounds, after what precedes the first round."""
    messages = conversation.messages
    begin = next((n for n, message in enumerate(messages) if message.role == "user"), len(messages))
    chosen = [messages[number] for each in rounds for number in each]
    return replace(conversation, messages=(*messages[:begin], *chosen))
