"""Cut documents into rows of at most data.max_tokens, for continued pre-training.

A document begins with BOS, if the tokenizer has one, and ends with EOS. Every token is trained on.
A row begins with the last token of the row before it, so that the first token after a cut is
predicted too. The rest of a document is a shorter row.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from anima_exp.config import BadRow, DataConfig, TrainOn
from anima_exp.data import formats
from anima_exp.data.apply_recipe import nothing, tokenized_once
from anima_exp.data.chat.dataset import ChatDataset
from anima_exp.data.chat.masked_tokens import MaskedTokens, MaskedTokenWriter, open_masked_tokens
from anima_exp.data.chat.segments import Kind, Segment
from anima_exp.data.encode import TextEncoder, special_ids
from anima_exp.data.example import Example, Row
from anima_exp.data.formats import Recipe
from anima_exp.data.orders import orders
from anima_exp.data.source import Source
from anima_exp.data.token_cache import Meta, code_of
from anima_exp.data.tokenize import batches, ids_of, pairs_of
from anima_exp.errors import ConfigError, DataError
from anima_exp.events import working

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FORMAT = 1  # raise it when the rows of some document change


def check_settings(config: DataConfig) -> None:
    """Raise ConfigError for a setting that contradicts documents."""
    if config.template is not None:
        raise ConfigError(
            f"data.template={config.template} is for conversations, but data.recipe="
            f"{config.recipe} reads documents. Leave data.template out."
        )
    if config.train_on is not TrainOn.assistant:
        raise ConfigError(
            f"data.train_on={config.train_on.value} is for conversations, but data.recipe="
            f"{config.recipe} reads documents, which are trained on as a whole. Leave "
            "data.train_on out."
        )
    if config.max_tokens < 2:
        raise ConfigError(
            f"data.max_tokens={config.max_tokens} is too short for a row of text, whose first "
            "token is not predicted. Use data.max_tokens=2048, for example."
        )


def prepare_documents(
    config: DataConfig,
    main: Source,
    own: Source | None,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    cache: Path,
) -> tuple[ChatDataset, ChatDataset, list[Meta]]:
    """Return the training rows, the held-out rows, and the statistics of what was read.

    Held-out rows are those of whole documents.

    Args:
        own: the source of the held-out rows; None if they are drawn from the training source.

    Raises:
        DataError: if a row is bad, or nothing is left to train on.
        ConfigError: if a setting contradicts documents.
    """
    check_settings(config)
    tokens = tokenize_documents(main, config, tokenizer, cache=cache)
    held = tokens if own is None else tokenize_documents(own, config, tokenizer, cache=cache)
    order, held_order = orders(config, tokens.rows, held.rows, own_source=own is not None)
    metas = [tokens.meta] if own is None else [tokens.meta, held.meta]
    return ChatDataset(tokens, order), ChatDataset(held, held_order), metas


def tokenize_documents(
    source: Source, config: DataConfig, tokenizer: "PreTrainedTokenizerBase", *, cache: Path
) -> MaskedTokens:
    """Return the rows of every document, from the cache if it has them.

    Raises:
        DataError: if no row can be used, or a row cannot be used with data.on_bad_row=error.
    """
    recipe = formats.recipe(config.recipe)
    name = _key(source.fingerprint, recipe, config, tokenizer)
    stop = config.on_bad_row is BadRow.error
    build = partial(_build, source, recipe, config, tokenizer, stop_at_bad_row=stop)
    return tokenized_once(cache / "documents" / name, open_masked_tokens, build, config.on_bad_row)


def _build(
    source: Source,
    recipe: Recipe,
    config: DataConfig,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    target: Path,
    stop_at_bad_row: bool,
) -> MaskedTokens:
    encoder = TextEncoder(tokenizer)
    with MaskedTokenWriter(target) as draft, working("tokenizing", source.name) as advance:
        checked = partial(_document, recipe)
        documents = pairs_of(source, checked, draft.meta, encoder, stop_at_bad_row=stop_at_bad_row)
        for batch in batches(documents):
            encoded = ids_of(encoder, batch)[len(batch) :]
            for (number, _), ids in zip(batch, encoded, strict=True):
                rows = [*cut([*encoder.begin, *ids, *encoder.end], config.max_tokens)]
                draft.add(number, [(row, [Segment(0, len(row), Kind.text)]) for row in rows])
                draft.count(Counter(documents=1, documents_cut=int(len(rows) > 1)))
            advance(len(batch))
        if not len(draft):
            raise nothing(source, draft.meta)
        return draft.commit()


def cut(ids: list[int], limit: int) -> Iterator[npt.NDArray[np.int32]]:
    """Yield rows of at most `limit` ids, each of which begins with the last id of the one before.

    So every id but the first is predicted exactly once.
    """
    whole = np.asarray(ids, dtype=np.int32)
    for start in range(0, max(len(whole) - 1, 1), limit - 1):
        yield whole[start : start + limit]


def _document(recipe: Recipe, row: Row) -> list[Example]:
    returned = recipe(row)
    given = returned if isinstance(returned, list) else [returned]
    if any(isinstance(one, Example) and one.prompt for one in given):
        raise DataError("the recipe returned a prompt, but its format has documents=True")
    return given  # type: ignore[return-value]  # apply() checks their type


def documents_line(metas: list[Meta], rows: int, limit: int) -> str:
    """Say how many documents have become how many rows, held-out ones included."""
    documents, divided = (
        sum(meta.chat.get(name, 0) for meta in metas) for name in ("documents", "documents_cut")
    )
    return (
        f"{documents:,} in {rows:,} rows of at most {limit:,} tokens; "
        f"{divided:,} document{' has' if divided == 1 else 's have'} more than one row"
    )


def _key(
    fingerprint: str, recipe: Recipe, config: DataConfig, tokenizer: "PreTrainedTokenizerBase"
) -> str:
    parts = [
        _FORMAT,
        fingerprint,
        *code_of(recipe, config.recipe),
        tokenizer.backend_tokenizer.to_str(),
        special_ids(tokenizer),
        config.max_tokens,
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
