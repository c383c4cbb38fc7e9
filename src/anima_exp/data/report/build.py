"""Read and tokenize a data set for the report on it."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anima_exp.config import BadRow, DataConfig
from anima_exp.data import formats, source
from anima_exp.data.apply_recipe import apply, only_conversations
from anima_exp.data.chat import recognize, templates
from anima_exp.data.chat.asking import ChatPrompts
from anima_exp.data.chat.dataset import ChatDataset
from anima_exp.data.chat.masks import ChatMasks
from anima_exp.data.chat.prepare import check_no_template, prepare_chat
from anima_exp.data.chat.reading import as_read
from anima_exp.data.chat.summary import summarize
from anima_exp.data.chat.tokenize import tokenize as tokenize_chat
from anima_exp.data.dataset import split_dataset
from anima_exp.data.documents import check_settings, prepare_documents, tokenize_documents
from anima_exp.data.encode import limits, special_ids
from anima_exp.data.formats import Recipe
from anima_exp.data.quality import count_issues, count_leaked
from anima_exp.data.report.content import DataReport
from anima_exp.data.report.conversations import chat_report
from anima_exp.data.report.documents import document_report
from anima_exp.data.report.examples import example_report
from anima_exp.data.rows import ExampleDataset, TokenizedDataset
from anima_exp.data.source import Source
from anima_exp.data.tokenize import tokenize
from anima_exp.errors import DataError
from anima_exp.events import Event, Said, emitter, listening

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NO_LIMIT = 2**31 - 1  # tokens of a row
_SEARCHED = 20_000  # source rows in which a row with tools and one with thinking are looked for
TOOLS, THINKING = "a row with tools", "a row with thinking"


def build(
    config: DataConfig,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    tokenizer_name: str,
    stops: Collection[int],
    cache: Path,
    show_rows: int,
    show_row: int | None,
) -> DataReport:
    """Return the report on a data set. Bad rows are counted and do not stop it.

    Args:
        stops: the ids at which the base model's generation stops, besides EOS.
        cache: the cache folder, which keeps the token ids.
        show_rows: how many rows to show, or of `show_row`, the number of a source row.

    Raises:
        DataError: if the source cannot be read, or no row can be used.
        ConfigError: if there is no such recipe, or the chat template cannot be trained with.
    """
    config = replace(config, on_bad_row=BadRow.skip)
    main = source.training_source(config)
    if formats.holds_conversations(config.recipe):
        return _of_conversations(
            _Reading(config, main, tokenizer, tokenizer_name, cache), stops, show_rows, show_row
        )
    if formats.holds_documents(config.recipe):
        return _of_documents(
            _Reading(config, main, tokenizer, tokenizer_name, cache), show_rows, show_row
        )
    check_no_template(config)
    return _of_examples(
        _Reading(config, main, tokenizer, tokenizer_name, cache), show_rows, show_row
    )


@dataclass(frozen=True)
class _Reading:
    """What is read, and how."""

    config: DataConfig
    main: Source
    tokenizer: "PreTrainedTokenizerBase"
    tokenizer_name: str
    cache: Path


@dataclass(frozen=True)
class _Split:
    """The held-out rows, and how many of them are trained on too."""

    heldout: int = 0
    leaked: int = 0
    error: str | None = None  # why no rows can be held out

    @classmethod
    def of(cls, train: TokenizedDataset, heldout: TokenizedDataset) -> "_Split":
        return cls(len(heldout), count_leaked(train, heldout))


def _of_examples(reading: _Reading, show_rows: int, show_row: int | None) -> DataReport:
    config, tokenizer = reading.config, reading.tokenizer
    tokens = tokenize(reading.main, config, tokenizer, cache=reading.cache)
    try:
        own = source.validation_source(config)
        train, held, _ = split_dataset(config, tokenizer, tokens, own, cache=reading.cache)
        split = _Split.of(train, held)
    except DataError as error:
        split = _Split(error=str(error))
    rows = ExampleDataset(tokens, np.arange(len(tokens)), limits(config))
    return example_report(
        rows,
        reading.main,
        tokenizer,
        recipe=config.recipe,
        tokenizer_name=reading.tokenizer_name,
        issues=count_issues(rows, before_prompt=len(special_ids(tokenizer)[0])),
        heldout=split.heldout,
        leaked=split.leaked,
        split_error=split.error,
        show_rows=show_rows,
        show_row=show_row,
    )


def _of_documents(reading: _Reading, show_rows: int, show_row: int | None) -> DataReport:
    config, tokenizer = reading.config, reading.tokenizer
    check_settings(config)
    tokens = tokenize_documents(reading.main, config, tokenizer, cache=reading.cache)
    try:
        own = source.validation_source(config)
        train, held, _ = prepare_documents(
            config, reading.main, own, tokenizer, cache=reading.cache
        )
        split = _Split.of(train, held)
    except DataError as error:
        split = _Split(error=str(error))
    rows = ChatDataset(tokens, np.arange(len(tokens)))
    return document_report(
        rows,
        reading.main,
        tokenizer,
        max_tokens=config.max_tokens,
        recipe=config.recipe,
        tokenizer_name=reading.tokenizer_name,
        issues=count_issues(rows, before_prompt=0),
        heldout=split.heldout,
        leaked=split.leaked,
        split_error=split.error,
        show_rows=show_rows,
        show_row=show_row,
    )


def _of_conversations(
    reading: _Reading, stops: Collection[int], show_rows: int, show_row: int | None
) -> DataReport:
    config, tokenizer, main, cache = (
        reading.config,
        reading.tokenizer,
        reading.main,
        reading.cache,
    )
    template = templates.choose(config.template, tokenizer)
    masks = ChatMasks(template, tokenizer, config.train_on, config.thinking, stops)

    def rows_of(chosen: DataConfig) -> ChatDataset:
        tokens = tokenize_chat(main, chosen, masks, cache=cache)
        return ChatDataset(tokens, np.arange(len(tokens)))

    rows = rows_of(config)
    long = rows.tokens.meta.chat.get("too_long")
    whole = rows
    if long:
        with _quietly():
            whole = rows_of(replace(config, max_tokens=_NO_LIMIT))
    try:
        own = source.validation_source(config)
        with _quietly() if own is None else nullcontext():
            train, held, *_ = prepare_chat(config, main, own, tokenizer, stops=stops, cache=cache)
        split = _Split.of(train, held)
    except DataError as error:
        split = _Split(error=str(error))
    recipe, readable, read_as = _as_read(main, config)
    with _quietly():
        special, tools = _special_rows(readable, recipe, rows)
    unshown = ""
    if tools and not ChatPrompts(template, tokenizer).shows(tools):
        unshown = readable.locate(special[TOOLS])
    return chat_report(
        rows,
        whole,
        summarize(rows, masks, max_tokens=config.max_tokens, too_long=config.too_long.value),
        readable,
        tokenizer,
        recipe=read_as,
        tokenizer_name=reading.tokenizer_name,
        issues=count_issues(rows, before_prompt=0),
        special_rows=special,
        unshown_tools=unshown,
        heldout=split.heldout,
        leaked=split.leaked,
        split_error=split.error,
        show_rows=show_rows,
        show_row=show_row,
    )


def _as_read(main: Source, config: DataConfig) -> tuple[Recipe, Source, str]:
    """Return the recipe that reads the rows, the rows as it reads them, and its name."""
    with _quietly():
        readable, recipe = as_read(main, config)
    name = config.recipe
    if name == formats.AUTO:
        name = f"auto: {recognize.auto_of(main).recipe}"
    return recipe, readable, name


@contextmanager
def _quietly() -> Iterator[None]:
    """Drop lines about the rows, which were printed when the rows were first read."""
    emit = emitter()

    def listen(event: Event) -> None:
        if not isinstance(event, Said):
            emit(event)

    with listening(listen):
        yield


def _special_rows(
    readable: Source, recipe: Recipe, rows: ChatDataset
) -> tuple[dict[str, int], tuple[dict[str, Any], ...]]:
    """Return the numbers of the first rows with tools and with thinking, and the first tools."""
    used = {rows.source_row(index) for index in range(len(rows))}
    found: dict[str, int] = {}
    tools: tuple[dict[str, Any], ...] = ()
    for number, row in islice(readable.read(), _SEARCHED):
        if number not in used or isinstance(row, DataError):
            continue
        for one in only_conversations(apply(recipe, row)):
            tools = tools or one.tools
            if one.tools or any(message.tool_calls for message in one.messages):
                found.setdefault(TOOLS, number)
            if any(message.thinking for message in one.messages):
                found.setdefault(THINKING, number)
        if len(found) == 2 and tools:
            break
    return found, tools
