"""Read, tokenize and split conversations."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from anima_exp.config import DataConfig, TrainOn
from anima_exp.data.chat import templates
from anima_exp.data.chat.dataset import ChatDataset
from anima_exp.data.chat.masks import ChatMasks
from anima_exp.data.chat.summary import ChatSummary, summarize
from anima_exp.data.chat.templates import ChatTemplate
from anima_exp.data.chat.tokenize import tokenize
from anima_exp.data.orders import orders_of_read
from anima_exp.data.source import Source
from anima_exp.data.token_cache import Meta
from anima_exp.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class ChatData:
    """What the conversations of a run were put with."""

    template: ChatTemplate
    stop_ids: list[int]  # at which generation has to stop
    summary: ChatSummary

    def use(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Make the template the tokenizer's own, for questions and for the saved tokenizer."""
        templates.use_template(tokenizer, self.template, self.stop_ids)


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


def check_settings(config: DataConfig) -> None:
    """Raise ConfigError if a setting has no effect on conversations."""
    if config.train_on_source:
        raise ConfigError(
            "data.train_on_source=true is for prompts and responses, but data.recipe="
            f"{config.recipe} reads conversations. Use data.train_on=all to train on every token."
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
    check_settings(config)
    template = templates.choose(config.template, tokenizer)
    masks = ChatMasks(template, tokenizer, config.train_on, config.thinking, stops)
    tokens = tokenize(main, config, masks, cache=cache)
    held_tokens = tokens
    held_config = config
    if config.train_on is not TrainOn.assistant:
        held_config = replace(config, train_on=TrainOn.assistant)
    if config.heldout_rows and (own is not None or held_config is not config):
        held_masks = ChatMasks(template, tokenizer, held_config.train_on, config.thinking, stops)
        held_tokens = tokenize(own or main, held_config, held_masks, cache=cache)
    read = tokens.read if own is None else None
    order, held_order = orders_of_read(config, tokens.rows, held_tokens.rows, read=read)
    train, heldout = ChatDataset(tokens, order), ChatDataset(held_tokens, held_order)
    metas = [tokens.meta] if own is None else [tokens.meta, held_tokens.meta]
    summary = summarize(train, masks, max_tokens=config.max_tokens, too_long=config.too_long.value)
    return train, heldout, metas, ChatData(template, masks.stop_ids, summary)
