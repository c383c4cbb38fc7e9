"""Read, tokenize and split a data set into training rows and held-out rows."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anima_exp.config import DataConfig
from anima_exp.data import encode, formats, source
from anima_exp.data.chat.prepare import ChatData, check_no_template, prepare_chat
from anima_exp.data.documents import documents_line, prepare_documents
from anima_exp.data.notes import notes
from anima_exp.data.rows import ExampleDataset, TokenizedDataset, orders
from anima_exp.data.source import Source
from anima_exp.data.token_cache import Meta, Tokens
from anima_exp.data.tokenize import tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Counts:
    """How many rows, examples and tokens a data set has; from `truncated_prompts` on for training.

    An example without labels has an empty prompt and a response of one token.
    """

    rows: int  # read from the training source and, if there is one, the held-out source
    skipped: int  # rows left out (data.on_bad_row=skip)
    train: int  # training examples
    heldout: int  # held-out examples
    truncated_prompts: int
    truncated_responses: int
    without_labels: int
    train_tokens: int  # in one epoch, after truncation
    label_tokens: int  # tokens that the loss is computed on


@dataclass(frozen=True)
class DatasetSplits:
    """The training rows and the held-out rows of a data set."""

    train: TokenizedDataset
    heldout: TokenizedDataset
    counts: Counts
    fingerprint: str  # of the source rows only
    notes: dict[str, str] = field(default_factory=dict)  # remarks about the rows, by heading
    chat: ChatData | None = None  # if the rows are conversations


def prepare(
    config: DataConfig,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    cache: Path,
    stops: Collection[int] = (),
) -> DatasetSplits:
    """Read, tokenize and split a data set.

    Args:
        cache: the cache folder, which keeps the token ids.
        stops: the ids at which the base model's generation stops, besides EOS.

    Raises:
        DataError: if a source cannot be read, a row is bad, or nothing is left to train on.
        ConfigError: if there is no such recipe, or the chat template cannot be trained with.
    """
    main, own = source.training_source(config), source.validation_source(config)
    chat: ChatData | None = None
    train: TokenizedDataset
    heldout: TokenizedDataset
    if formats.holds_conversations(config.recipe):
        train, heldout, metas, chat = prepare_chat(
            config, main, own, tokenizer, stops=stops, cache=cache
        )
    elif formats.holds_documents(config.recipe):
        train, heldout, metas = prepare_documents(config, main, own, tokenizer, cache=cache)
    else:
        check_no_template(config)
        tokens = tokenize(main, config, tokenizer, cache=cache)
        train, heldout, metas = split_dataset(config, tokenizer, tokens, own, cache=cache)
    totals = {rows.cache_key: rows.total for rows in (train, heldout)}
    remarks = notes(metas, examples=sum(totals.values()), recipe=config.recipe)
    if formats.holds_documents(config.recipe):
        line = documents_line(metas, sum(totals.values()), config.max_tokens)
        remarks = {"documents": line, **remarks}
    return DatasetSplits(
        train=train,
        heldout=heldout,
        counts=_count(train, heldout, metas),
        fingerprint=source.joint_fingerprint(main, own),
        notes=remarks,
        chat=chat,
    )


def split_dataset(
    config: DataConfig,
    tokenizer: "PreTrainedTokenizerBase",
    tokens: Tokens,
    own: Source | None,
    *,
    cache: Path,
) -> tuple[ExampleDataset, ExampleDataset, list[Meta]]:
    """Return the training rows, the held-out rows, and the statistics of what was read.

    Args:
        own: the source of the held-out rows; None if they are drawn from the training source.
    """
    limits = encode.limits(config)
    held_tokens = tokens if own is None else tokenize(own, config, tokenizer, cache=cache)
    order, held_order = orders(config, tokens.rows, held_tokens.rows, own_source=own is not None)
    metas = [tokens.meta] if own is None else [tokens.meta, held_tokens.meta]
    train = ExampleDataset(tokens, order, limits)
    return train, ExampleDataset(held_tokens, held_order, limits), metas


def _count(train: TokenizedDataset, heldout: TokenizedDataset, metas: list[Meta]) -> Counts:
    prompts = responses = 0
    if isinstance(train, ExampleDataset):
        prompts = int((train.full_prompt_lengths > train.limits.max_prompt).sum())
        responses = int((train.full_response_lengths > train.limits.max_response).sum())
    return Counts(
        rows=sum(meta.read for meta in metas),
        skipped=sum(meta.skipped for meta in metas),
        train=len(train),
        heldout=len(heldout),
        truncated_prompts=prompts,
        truncated_responses=responses,
        without_labels=int((train.label_counts <= 0).sum()),
        train_tokens=int(train.lengths.sum(dtype=np.int64)),
        label_tokens=int(train.label_counts.sum(dtype=np.int64)),
    )
