"""Read, tokenize and split a data set into training rows and held-out rows."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from anima_exp.config import DataConfig
from anima_exp.data import encode, formats, source
from anima_exp.data.chat.prepare import ChatData, check_no_template, prepare_chat
from anima_exp.data.documents import documents_line, prepare_documents
from anima_exp.data.mixture import joined
from anima_exp.data.notes import notes
from anima_exp.data.orders import orders
from anima_exp.data.parts import each
from anima_exp.data.rows import ExampleDataset, TokenizedDataset
from anima_exp.data.source import Source
from anima_exp.data.splits import DatasetSplits, count
from anima_exp.data.token_cache import Meta, Tokens
from anima_exp.data.tokenize import tokenize

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


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
    if config.parts:
        return joined(
            config, each(config, lambda part: prepare(part, tokenizer, cache=cache, stops=stops))
        )
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
        counts=count(
            train,
            heldout,
            rows=sum(meta.read for meta in metas),
            skipped=sum(meta.skipped for meta in metas),
        ),
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
