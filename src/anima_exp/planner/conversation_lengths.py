"""Estimate how long the rows of conversations are, without the libraries that a run needs.

The texts are tokenized. Of the chat template nothing is known but that it writes a few tokens
around each message. Templates that rewrite earlier turns make more rows than are counted here.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from anima_exp.config import DataConfig, Thinking
from anima_exp.data.apply_recipe import only_conversations, read_all
from anima_exp.data.chat.conversation import Conversation, Message
from anima_exp.data.chat.fit import fit
from anima_exp.data.chat.masks import MaskedRow, Span
from anima_exp.data.chat.policy import trained
from anima_exp.data.source import Source
from anima_exp.errors import DataError

_AROUND = 4  # tokens that a template writes before the text of a message: ChatML has 3
_BATCH = 500  # conversations tokenized in one call


@dataclass
class ConversationLengths:
    """The estimated lengths of rows, and how many source rows have one."""

    tokens: list[int] = field(default_factory=list)  # of each row
    labels: list[int] = field(default_factory=list)  # of each row
    used: int = 0
    read: int = 0  # source rows with a conversation, too long ones included


_estimated: dict[tuple[object, ...], ConversationLengths] = {}  # a sweep's cells read a file once


def estimate(rows: Source, data: DataConfig, tokenizer_file: Path) -> ConversationLengths:
    """Return about how long the rows of a source are, shortened as data.too_long says.

    Raises:
        DataError: if a row cannot be used.
    """
    state = tokenizer_file.stat()
    key = (
        rows.fingerprint, data.recipe, data.on_bad_row, data.template, data.max_tokens,
        data.too_long, data.train_on, data.thinking, tokenizer_file, state.st_size,
        state.st_mtime_ns,
    )  # fmt: skip
    if key not in _estimated:
        _estimated[key] = _estimate(rows, data, tokenizer_file)
    return _estimated[key]


def _estimate(rows: Source, data: DataConfig, tokenizer_file: Path) -> ConversationLengths:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    found = ConversationLengths()
    read = read_all(rows, data)
    numbered = ((n, one) for n, given in read for one in only_conversations(given))
    used: set[int] = set()
    read_rows: set[int] = set()
    while batch := list(islice(numbered, _BATCH)):
        texts = [text for _, one in batch for text in _texts(one, data.thinking)]
        ids = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        sizes = iter([len(one) for one in ids])
        read_rows |= {number for number, _ in batch}
        for number, conversation in batch:
            before = len(found.tokens)
            _add(found, conversation, _Sizes(conversation, sizes, data))
            if len(found.tokens) > before:
                used.add(number)
    found.used, found.read = len(used), len(read_rows)
    return found


class _Sizes:
    """The tokens of a conversation's tools and messages."""

    def __init__(self, conversation: Conversation, sizes: Iterator[int], data: DataConfig) -> None:
        self.data = data
        self._tools = 1 + next(sizes)  # after BOS
        self._messages = {id(message): next(sizes) for message in conversation.messages}

    def rows(self, conversation: Conversation) -> list[MaskedRow]:
        """Return the row of a conversation, with its length and its answers but without ids."""
        answers = {*trained(conversation.messages, self.data.train_on)}
        at, spans = self._tools, []
        for number, message in enumerate(conversation.messages):
            start = at + _AROUND
            at = start + self._messages[id(message)] + 1  # and the token that ends it
            if number in answers:
                spans.append(Span(start, at, number))
        if self.data.train_on == "all":
            spans = []
        return [MaskedRow(np.zeros(at, np.int32), np.zeros(at, np.bool_), tuple(spans))]


def _add(lengths: ConversationLengths, conversation: Conversation, sizes: _Sizes) -> None:
    data = sizes.data
    try:
        rows = sizes.rows(conversation)
    except DataError:  # no answer is trained on: the run counts it or refuses it
        return
    for row, _ in fit(
        conversation,
        rows,
        data.max_tokens,
        data.too_long,
        train_on=data.train_on,
        again=sizes.rows,
        counts=Counter(),
    ):
        lengths.tokens.append(len(row.ids))
        answers = sum(span.end - span.start for span in row.spans)
        lengths.labels.append(answers if row.spans else len(row.ids) - 1)


def _texts(conversation: Conversation, thinking: Thinking) -> list[str]:
    """Return the text of the tools, and that of each message."""
    tools = json.dumps(conversation.tools, ensure_ascii=False) if conversation.tools else ""
    return [tools, *(_text(message, thinking) for message in conversation.messages)]


def _text(message: Message, thinking: Thinking) -> str:
    calls = [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls]
    parts = [message.content, *(json.dumps(call, ensure_ascii=False) for call in calls)]
    if message.thinking and thinking is not Thinking.drop:
        parts.insert(0, message.thinking)
    return "\n".join(part for part in parts if part)
