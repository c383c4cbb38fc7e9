"""Tokenize the conversations of a source once, and keep the rows in the cache.

A large source is divided over the cores. The process that reads the rows sends them to workers in
chunks. They read the conversations, render, verify and encode them, and return rows of ids.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anima_exp.config import BadRow, DataConfig, SpecialTokensInText
from anima_exp.data import formats
from anima_exp.data.apply_recipe import (
    apply,
    bad_row,
    nothing,
    only_conversations,
    record_bad_row,
)
from anima_exp.data.array_folder import opened_or_built
from anima_exp.data.chat import recognize
from anima_exp.data.chat.any_shape import recipe_of
from anima_exp.data.chat.conversation import Conversation
from anima_exp.data.chat.fit import fit
from anima_exp.data.chat.masked_tokens import (
    MaskedTokens,
    MaskedTokenWriter,
    key,
    open_masked_tokens,
)
from anima_exp.data.chat.masks import ChatMasks, MaskedRow
from anima_exp.data.chat.rules import message_error
from anima_exp.data.chat.segments import Segment, segments
from anima_exp.data.chat.texts import is_tree_message, oasst1_trees
from anima_exp.data.example import TrackedRow
from anima_exp.data.formats import Recipe
from anima_exp.data.readers import NumberedRow
from anima_exp.data.source import Source
from anima_exp.errors import DataError
from anima_exp.events import say, working
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
        if isinstance(rows, DataError):
            raise rows
        if rows[0].spells_control:
            if self.config.special_tokens_in_text is SpecialTokensInText.error:
                raise _spelled_error(conversation, self.masks)
            result.counts["spelled"] += 1
        result.conversations += 1
        # Their order is that of the answers, so the last row is the longest.
        result.counts["more_rows"] += len(rows) - 1
        result.counts["more_tokens"] += sum(len(row.ids) for row in rows[:-1])
        result.counts["rewritten"] += len(rows) > 1
        result.counts["lacks_thinking"] += sum(
            span.lacks_thinking for row in rows for span in row.spans
        )
        for row, shown in fit(
            conversation,
            rows,
            self.config.max_tokens,
            self.config.too_long,
            train_on=self.config.train_on,
            again=self.masks.rows,
            counts=result.counts,
        ):
            answers = [(span.start, span.end, span.message) for span in row.spans]
            parts = segments(
                shown.messages,
                answers,
                len(row.ids),
                opening=row.opening,
                has_tools=bool(shown.tools),
            )
            result.rows.append((row.ids, parts))


def _spelled_error(conversation: Conversation, masks: ChatMasks) -> DataError:
    tokens = masks.encoder.encoder
    for position, message in enumerate(conversation.messages, start=1):
        if token := tokens.spelled(f"{message.content}\0{message.thinking or ''}"):
            number = position if message.number is None else message.number
            return message_error(
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

    def build(target: Path) -> MaskedTokens:
        readable, chosen = recognized(source, config, recipe)
        work = _Work(chosen, config, masks)
        return _build(readable, work, target=target, stop_at_bad_row=stop_at_bad_row)

    tokens = opened_or_built(cache / "conversations" / name, open_masked_tokens, build)
    if stop_at_bad_row and tokens.meta.skipped:  # written by a run that skips bad rows
        raise bad_row(tokens.meta.shown[0])
    return tokens


def recognized(source: Source, config: DataConfig, recipe: Recipe) -> tuple[Source, Recipe]:
    """Return the source and the recipe to read it with, which data.recipe=auto recognizes.

    OASST1's messages are joined to trees, each of which is one row then.

    Raises:
        DataError: if data.recipe=auto does not recognize the rows.
    """
    if config.recipe == formats.AUTO:
        first = (row for _, row in source.read() if not isinstance(row, DataError))
        found = recognize.auto(first)
        say(f"data     {source.name} is read as {found.recipe}: {found.reason}")
        recipe = recipe_of(found.recipe)
    if config.recipe == "oasst1_chat":
        return _joined(source), recipe
    return source, recipe


def _joined(source: Source) -> Source:
    first = next(iter(source.read()), None)
    if first is None or isinstance(first[1], DataError) or not is_tree_message(first[1]):
        return source
    rows: list[NumberedRow] = []
    for number, row in source.read():
        if isinstance(row, DataError):
            raise bad_row(f"{source.locate(number)}: {row}") from row
        rows.append((number, row))
    trees, lost = oasst1_trees(row for _, row in rows if not isinstance(row, DataError))
    if lost:
        say(f"data     {lost:,} messages of {source.name} are left out: their parent is missing")
    return Source(source.name, "tree", source.fingerprint, lambda: enumerate(trees, start=1))


def _build(source: Source, work: _Work, *, target: Path, stop_at_bad_row: bool) -> MaskedTokens:
    with MaskedTokenWriter(target) as draft, working("tokenizing", source.name) as advance:
        meta = draft.meta
        for result in _results(source, work):
            meta.read += 1
            if result.error is not None:
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
