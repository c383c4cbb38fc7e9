"""Read, tokenize and split a data set into training rows and held-out rows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anima_exp.config import DataConfig
from anima_exp.data import encode, source
from anima_exp.data import rows as split
from anima_exp.data.notes import notes
from anima_exp.data.rows import TokenizedDataset
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


def prepare(
    config: DataConfig, tokenizer: "PreTrainedTokenizerBase", *, cache: Path
) -> DatasetSplits:
    """Read, tokenize and split a data set.

    Args:
        cache: the cache folder, which keeps the token ids.

    Raises:
        DataError: if a source cannot be read, a row is bad, or nothing is left to train on.
        ConfigError: if there is no such recipe.
    """
    main, own = source.training_source(config), source.validation_source(config)
    tokens = tokenize(main, config, tokenizer, cache=cache)
    train, heldout, metas = split_dataset(config, tokenizer, tokens, own, cache=cache)
    return DatasetSplits(
        train=train,
        heldout=heldout,
        counts=_count(train, heldout, metas),
        fingerprint=source.joint_fingerprint(main, own),
        notes=notes(metas, examples=_examples(train, heldout), recipe=config.recipe),
    )


def split_dataset(
    config: DataConfig,
    tokenizer: "PreTrainedTokenizerBase",
    tokens: Tokens,
    own: Source | None,
    *,
    cache: Path,
) -> tuple[TokenizedDataset, TokenizedDataset, list[Meta]]:
    """Return the training rows, the held-out rows, and the statistics of what was read.

    Args:
        own: the source of the held-out rows; None if they are drawn from the training source.
    """
    limits, seed = encode.limits(config), config.heldout_seed
    if own is None:
        order, held_order = split.split(tokens.rows, heldout=config.heldout_rows, seed=seed)
        held_tokens, metas = tokens, [tokens.meta]
    else:
        held_tokens = tokenize(own, config, tokenizer, cache=cache)
        order = split.shuffled(len(tokens), seed=seed)
        # A separate held-out source may have fewer rows than data.heldout_rows. Then all are used.
        held_order = split.first(split.shuffled(len(held_tokens), seed=seed), config.heldout_rows)
        metas = [tokens.meta, held_tokens.meta]
    train = TokenizedDataset(tokens, split.first(order, config.max_train_rows), limits)
    return train, TokenizedDataset(held_tokens, held_order, limits), metas


def _examples(train: TokenizedDataset, heldout: TokenizedDataset) -> int:
    separate = heldout.tokens is not train.tokens
    return len(train.tokens) + (len(heldout.tokens) if separate else 0)


def _count(train: TokenizedDataset, heldout: TokenizedDataset, metas: list[Meta]) -> Counts:
    return Counts(
        rows=sum(meta.read for meta in metas),
        skipped=sum(meta.skipped for meta in metas),
        train=len(train),
        heldout=len(heldout),
        truncated_prompts=int((train.full_prompt_lengths > train.limits.max_prompt).sum()),
        truncated_responses=int((train.full_response_lengths > train.limits.max_response).sum()),
        without_labels=int((train.label_counts <= 0).sum()),
        train_tokens=int(train.lengths.sum(dtype=np.int64)),
        label_tokens=int(train.label_counts.sum(dtype=np.int64)),
    )
