"""Tokenize the conversations of a source once, and keep the rows in the cache.

A large source is divided over the cores. The process that reads the rows sends them to workers in
chunks. They read the conversations, render, verify and encode them, and return rows of ids.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, groupby, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anima_exp.config import BadRow, DataConfig, SpecialTokensInText, TrainOn
from anima_exp.data import formats
from anima_exp.data.apply_recipe import (
    apply,
    nothing,
    only_conversations,
    record_bad_row,
    tokenized_once,
)
from anima_exp.data.chat import rules
from anima_exp.data.chat.conversation import Conversation
from anima_exp.data.chat.fit import FittedRow, Part, fit
from anima_exp.data.chat.masked_tokens import (
    MaskedTokens,
    MaskedTokenWriter,
    key,
    open_masked_tokens,
)
from anima_exp.data.chat.masks import ChatMasks, MaskedRow
from anima_exp.data.chat.policy import NothingTrainedError
from anima_exp.data.chat.reading import as_read
from anima_exp.data.chat.segments import Kind, Segment, segments
from anima_exp.data.chat.templates import shows_tools
from anima_exp.data.example import TrackedRow
from anima_exp.data.formats import Recipe
from anima_exp.data.readers import NumberedRow
from anima_exp.data.source import Source
from anima_exp.errors import DataError
from anima_exp.events import working
from anima_exp.system import forked

_CHUNK = 250  # rows that a worker gets at once
_ROWS_OF_ONE_PROCESS = 1000  # before others are started

Cut = tuple[npt.NDArray[np.int32], list[Segment]]  # the ids of a row, and its segments


@dataclass
class _Result:
    """What became of one source row."""

    number: int
    error: DataError | None = None
    rows: list[Cut] = field(default_factory=list)
    conversations: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    unread: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Work:
    """How source rows become rows of ids."""

    recipe: Recipe
    config: DataConfig
    masks: ChatMasks
    shows_tools: bool  # the template does

    def results(self, chunk: Sequence[NumberedRow]) -> list[_Result]:
        """Return what becomes of each source row, in order."""
        results: list[_Result] = []
        each: list[tuple[_Result, Conversation]] = []
        for number, row in chunk:
            result = _Result(number)
            results.append(result)
            try:
                if isinstance(row, DataError):
                    raise row
                tracked = TrackedRow(row)
                given = only_conversations(apply(self.recipe, tracked))
            except DataError as error:
                result.error = error
                continue
            except Exception as error:  # a bug in the recipe keeps its traceback
                error.add_note(f"data.recipe at row {number}")
                raise
            tracked.count_unread(result.unread)
            each += [(result, one) for one in given]
        rendered = self.masks.rows_of_each(one for _, one in each)
        for (result, conversation), rows in zip(each, rendered, strict=True):
            try:
                self._add(result, conversation, rows)
            except DataError as error:
                result.error = result.error or error
        return results

    def _add(
        self, result: _Result, conversation: Conversation, rows: list[MaskedRow] | DataError
    ) -> None:
        if isinstance(rows, NothingTrainedError):
            result.conversations += 1
            result.counts["untrained"] += 1
            return
        if isinstance(rows, DataError):
            # The template's own error names no message.
            rules.check(conversation, alternate=self.masks.refused_in_a_row)
            raise _as_numbered(rows, conversation)
        if rows[0].spells_control:
            if self.config.special_tokens_in_text is SpecialTokensInText.error:
                raise _spelled_error(conversation, self.masks)
            result.counts["spelled"] += 1
        if conversation.tools and not self.shows_tools:
            result.counts["tools_left_out"] += 1
        if self.config.train_on is not TrainOn.all:
            result.counts["answers_left_out"] += sum(
                message.train is False and message.role == "assistant"
                for message in conversation.messages
            )
        result.conversations += 1
        fitted = fit(
            conversation,
            rows,
            self.config.max_tokens,
            self.config.too_long,
            train_on=self.config.train_on,
            again=self.masks.rows,
            counts=result.counts,
        )
        result.rows += [(row.ids, _segments(row, part, conversation)) for row, part in fitted]
        result.counts += _rewritten(fitted)
        result.counts["lacks_thinking"] += sum(
            span.lacks_thinking for row, _ in fitted for span in row.spans
        )


def _as_numbered(error: DataError, conversation: Conversation) -> DataError:
    """Return an error with the number that its message has in the row.

    A system prompt from a column of its own, and joined messages, shift the numbers.
    """
    if str(error).startswith("the chat template does not accept"):
        return error  # its own words

    def number(match: re.Match[str]) -> str:
        position = int(match[1])
        if position > len(conversation.messages):
            return match[0]
        in_row = conversation.messages[position - 1].number
        return f"message {position if in_row is None else in_row}"

    return DataError(re.sub(r"\bmessage ([1-9]\d*)\b", number, str(error), count=1))


def _segments(row: MaskedRow, part: Part, whole: Conversation) -> list[Segment]:
    """Return the segments of a row, with the messages and turns of the whole conversation."""
    assistants = (n for n, message in enumerate(whole.messages) if message.role == "assistant")
    turns = {number: turn for turn, number in enumerate(assistants, start=1)}
    answers = [(span.start, span.end, span.message) for span in row.spans]
    found = []
    for one in segments(
        part.conversation.messages,
        answers,
        len(row.ids),
        opening=row.opening,
        has_tools=bool(whole.tools),
    ):
        message = part.numbers[one.message] if one.message >= 0 else -1
        turn = turns[message] if one.kind is Kind.assistant else 0
        found.append(replace(one, message=message, turn=turn))
    return found


def _rewritten(fitted: Sequence[FittedRow]) -> Counter[str]:
    """Count the rows and tokens that are there only because the template rewrites earlier turns."""
    counts: Counter[str] = Counter()
    for _, group in groupby(fitted, key=lambda each: id(each.part)):
        lengths = sorted(len(row.ids) for row, _ in group)
        counts["more_rows"] += len(lengths) - 1
        counts["more_tokens"] += sum(lengths[:-1])
    counts["rewritten"] += counts["more_rows"] > 0
    return counts


def _spelled_error(conversation: Conversation, masks: ChatMasks) -> DataError:
    tokens = masks.encoder.encoder
    for position, message in enumerate(conversation.messages, start=1):
        if token := tokens.spelled(f"{message.content}\0{message.thinking or ''}"):
            number = position if message.number is None else message.number
            return rules.message_error(
                number, message.role, f"it contains the control token {token} as text"
            )
    return DataError("a tool or a tool call contains a control token as text")


def tokenize(
    source: Source,
    config: DataConfig,
    masks: ChatMasks,
    *,
    cache: Path,
) -> MaskedTokens:
    """Return the rows of every conversation, from the cache if it has them.

    Args:
        masks: made with the settings of `config`.

    Raises:
        DataError: if no row can be used, or a row cannot be used with data.on_bad_row=error.
    """
    recipe = formats.recipe(config.recipe)
    name = key(source.fingerprint, recipe, config, masks.template, masks.tokenizer, masks.stops)
    stop_at_bad_row = config.on_bad_row is BadRow.error

    readable, chosen = as_read(source, config)  # says what data.recipe=auto recognizes

    def build(target: Path) -> MaskedTokens:
        shows = shows_tools(masks.template, masks.tokenizer)
        work = _Work(chosen, config, masks, shows)
        return _build(readable, work, target=target, stop_at_bad_row=stop_at_bad_row)

    folder = cache / "conversations" / name
    return tokenized_once(folder, open_masked_tokens, build, config.on_bad_row)


def _build(source: Source, work: _Work, *, target: Path, stop_at_bad_row: bool) -> MaskedTokens:
    with MaskedTokenWriter(target) as draft, working("tokenizing", source.name) as advance:
        meta = draft.meta
        for result in _results(source, work):
            meta.read += 1
            if result.error is not None:
                draft.add(result.number, [])
                record_bad_row(
                    source,
                    result.number,
                    result.error,
                    work.recipe,
                    meta,
                    stop_at_bad_row=stop_at_bad_row,
                )
                continue
            for column, rows in result.unread.items():
                meta.unread[column] = meta.unread.get(column, 0) + rows
            draft.add(result.number, result.rows)
            draft.count(result.counts + Counter(conversations=result.conversations))
            advance(max(len(result.rows), 1))
        if not len(draft):
            if meta.chat.get("dropped"):
                raise DataError(
                    f"{source.name}: every conversation is longer than data.max_tokens="
                    f"{work.config.max_tokens}. Raise it."
                )
            if meta.chat.get("untrained"):
                raise DataError(
                    f"{source.name}: every answer says that it is not trained on (train, weight or "
                    "loss_weight). Change the flags of some messages, or use data.train_on=all."
                )
            raise nothing(source, meta)
        return draft.commit()


def _results(source: Source, work: _Work) -> Iterator[_Result]:
    """Yield the results in the order of the rows. After some rows, other processes help."""
    chunks = _chunks(source.read())
    for chunk in (next(chunks, []) for _ in range(_ROWS_OF_ONE_PROCESS // _CHUNK)):
        yield from work.results(chunk)
    rest = next(chunks, None)
    if rest is None:
        return
    remaining = chain([rest], chunks)
    processes = forked.workers()
    if processes == 1:
        found: Iterator[list[_Result]] = map(work.results, remaining)
    else:
        found = forked.map_forked(work.results, remaining, processes=processes)
    for results in found:
        yield from results


def _chunks(rows: Iterator[NumberedRow]) -> Iterator[list[NumberedRow]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk
