"""Read, tokenize and split a data set into training rows and held-out rows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from anima_exp.config import DataConfig
from anima_exp.data import encode, source
from anima_exp.data import rows as split
from anima_exp.data.notes import notes
from anima_exp.data.rows import TokenizedDataset
from anima_exp.data.source import Source
from anima_exp.data.token_cache import Meta, Tokens
from anima_exp.data.tokenise import tokenise


@dataclass(frozen=True)
class Counts:
    rows: int  # read, from both sources where there are two
    skipped: int  # of these, left out (data.on_bad_row=skip)
    train: int  # examples
    heldout: int  # examples
    truncated_prompts: int  # of the training examples, as all below
    truncated_responses: int
    without_labels: int  # nothing to learn from: only a response of one token without a prompt
    train_tokens: int  # in one pass, as truncated
    label_tokens: int  # of these, tokens that the loss is taken on


@dataclass(frozen=True)
class DatasetSplits:
    train: TokenizedDataset
    heldout: TokenizedDataset
    counts: Counts
    fingerprint: str  # of the source rows alone
    notes: dict[str, str] = field(default_factory=dict)  # heading -> what was done to the rows


def prepare(config: DataConfig, tokenizer: Any, *, cache: Path) -> DatasetSplits:
    """Read, tokenise (once: `cache` keeps the ids) and split.

    Raises:
        DataError: a source cannot be read, a row is bad, or nothing is left to train on.
        ConfigError: there is no such recipe.
    """
    main, own = source.training_source(config), source.validation_source(config)
    tokens = tokenise(main, config, tokenizer, cache=cache)
    train, heldout, metas = split_dataset(config, tokenizer, tokens, own, cache=cache)
    return DatasetSplits(
        train=train,
        heldout=heldout,
        counts=_count(train, heldout, metas),
        fingerprint=source.joint_fingerprint(main, own),
        notes=notes(metas, examples=_examples(train, heldout), recipe=config.recipe),
    )


def split_dataset(
    config: DataConfig, tokenizer: Any, tokens: Tokens, own: Source | None, *, cache: Path
) -> tuple[TokenizedDataset, TokenizedDataset, list[Meta]]:
    """Training rows, held-out rows, and what was read for both. `own` is the latter's source."""
    limits, seed = encode.limits(config), config.heldout_seed
    if own is None:
        order, held_order = split.split(tokens.rows, heldout=config.heldout_rows, seed=seed)
        held_tokens, metas = tokens, [tokens.meta]
    else:
        held_tokens = tokenise(own, config, tokenizer, cache=cache)
        order = split.shuffled(len(tokens), seed=seed)
        # A split of its own may be smaller than data.heldout_rows: then it is used whole.
        held_order = split.first(split.shuffled(len(held_tokens), seed=seed), config.heldout_rows)
        metas = [tokens.meta, held_tokens.meta]
    train = TokenizedDataset(tokens, split.first(order, config.max_train_rows), limits)
    return train, TokenizedDataset(held_tokens, held_order, limits), metas


def _examples(train: TokenizedDataset, heldout: TokenizedDataset) -> int:
    apart = heldout.tokens is not train.tokens
    return len(train.tokens) + (len(heldout.tokens) if apart else 0)


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
