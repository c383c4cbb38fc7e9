"""Read, tokenize and split conversations, and summarize what a run learns from them."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from anima_exp.config import DataConfig, TrainOn
from anima_exp.data.chat import templates
from anima_exp.data.chat.dataset import ChatDataset
from anima_exp.data.chat.masks import ChatMasks
from anima_exp.data.chat.segments import LABELS
from anima_exp.data.chat.templates import ChatTemplate
from anima_exp.data.chat.tokenize import tokenize
from anima_exp.data.rows import orders
from anima_exp.data.source import Source
from anima_exp.data.token_cache import Meta
from anima_exp.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class ChatSummary:
    """What a run learns from conversations. Tokens and turns are those of the training rows."""

    template: str  # its name in data.template
    template_hash: str
    stop_tokens: list[str]  # at which answers end
    turns: int  # answers trained on
    tokens: dict[str, int]  # by where they come from: segments.LABELS
    trained_share: float  # of the tokens, 0 to 1
    # How many conversations of the training source were cut, rewritten, and so on, held-out ones
    # included: see chat/tokenize.py and chat/fit.py.
    counts: dict[str, int] = field(default_factory=dict)
    dated: bool = False  # the template writes the date of the day on which the rows were read


@dataclass(frozen=True)
class ChatData:
    """What the conversations of a run were put with."""

    template: ChatTemplate
    stop_ids: list[int]  # at which generation has to stop
    summary: ChatSummary


def check_no_template(config: DataConfig) -> None:
    """Raise ConfigError if a chat template is set, but the rows are prompts and responses."""
    if config.template is not None:
        raise ConfigError(
            f"data.template={config.template} is for conversations, but data.recipe="
            f"{config.recipe} reads prompts and responses. Use a recipe of conversations, such as "
            "alpaca_chat or messages, or data.recipe=auto."
        )
    if config.train_on is not TrainOn.assistant:
        raise ConfigError(
            f"data.train_on={config.train_on.value} is for conversations, but data.recipe="
            f"{config.recipe} reads prompts and responses. Use data.train_on_source=true to train "
            "on the prompt too."
        )


def prepare_chat(
    config: DataConfig,
    main: Source,
    own: Source | None,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    stops: Collection[int],
    cache: Path,
) -> tuple[ChatDataset, ChatDataset, list[Meta], ChatData]:
    """Return the training rows, the held-out rows, the statistics of both, and the template.

    In held-out rows all answers count with any data.train_on, so that runs can be compared.

    Args:
        own: the source of the held-out rows; None if they are drawn from the training source.

    Raises:
        DataError: if a row is bad, or nothing is left to train on.
        ConfigError: if the template cannot be trained with.
    """
    template = templates.choose(config.template, tokenizer)
    masks = ChatMasks(template, tokenizer, config.train_on, config.thinking, stops)
    tokens = tokenize(main, config, masks, cache=cache)
    held_tokens = tokens
    held_config = config
    if config.train_on in (TrainOn.last, TrainOn.all):
        held_config = replace(config, train_on=TrainOn.assistant)
    if config.heldout_rows and (own is not None or held_config is not config):
        held_masks = ChatMasks(template, tokenizer, held_config.train_on, config.thinking, stops)
        held_tokens = tokenize(own or main, held_config, held_masks, cache=cache)
    order, held_order = orders(config, tokens.rows, held_tokens.rows, own_source=own is not None)
    train, heldout = ChatDataset(tokens, order), ChatDataset(held_tokens, held_order)
    metas = [tokens.meta] if own is None else [tokens.meta, held_tokens.meta]
    summary = summarize(train, masks)
    return train, heldout, metas, ChatData(template, masks.stop_ids, summary)


def summarize(rows: ChatDataset, masks: ChatMasks) -> ChatSummary:
    """Return what is learned from rows that were made with `masks`."""
    by_kind = rows.tokens_by_kind.sum(axis=0)
    counts = Counter(rows.tokens.meta.chat)
    return ChatSummary(
        template=masks.template.name,
        template_hash=masks.template.fingerprint,
        stop_tokens=[str(masks.tokenizer.convert_ids_to_tokens(one)) for one in masks.stop_ids],
        turns=int(rows.tokens.answer_counts(rows.order).sum()),
        tokens={label: int(by_kind[kind]) for kind, label in LABELS.items() if by_kind[kind]},
        trained_share=float(rows.label_counts.sum() / max(rows.lengths.sum(), 1)),
        counts={name: count for name, count in counts.items() if count},
        dated="strftime_now" in masks.template.source,
    )
