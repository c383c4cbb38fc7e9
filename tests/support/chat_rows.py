"""Rows of conversations in files, and what is made of them with a small tokenizer."""

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from anima_exp.config import (
    BadRow,
    DataConfig,
    SpecialTokensInText,
    Thinking,
    TooLong,
    TrainOn,
)
from anima_exp.data.chat.masks import ChatMasks
from anima_exp.data.chat.templates import ChatTemplate, named
from support.byte_tokenizer import local, write_rows
from support.chat_tokenizers import chat_tokenizer

# As Qwen3's: it writes the thinking of the last answer, and removes that of earlier ones.
FORGETS = ChatTemplate(
    "forgets",
    "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' and loop.last %}"
    "{{- '<think>' + (m.reasoning_content or '') + '</think>' }}{%- endif %}"
    "{{- m.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}",
)
_KINDS = {
    "train_on": TrainOn,
    "thinking": Thinking,
    "too_long": TooLong,
    "special_tokens_in_text": SpecialTokensInText,
    "on_bad_row": BadRow,
}


def row(*texts: str, system: str | None = None, **columns: object) -> dict[str, object]:
    """A row of messages: user and assistant in turn."""
    messages = [{"role": "system", "content": system}] if system else []
    messages += [
        {"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)
    ]
    return {"messages": messages, **columns}


def chats(count: int) -> list[dict[str, object]]:
    """Conversations of one to three turns."""
    return [
        row(*(f"{'qa'[part % 2]}{n}.{part // 2}" for part in range(2 * (1 + n % 3))))
        for n in range(count)
    ]


def chat_config(path: Path, **settings: object) -> DataConfig:
    """data=local data.path=... data.recipe=messages"""
    chosen = {name: _KINDS[name](value) for name, value in settings.items() if name in _KINDS}
    return local(path, **{"recipe": "messages", "prompt_template": "chat", **settings, **chosen})


def chat_file(folder: Path, *rows: object, **settings: object) -> DataConfig:
    """The settings of a file with these rows."""
    return chat_config(write_rows(folder / "a.jsonl", *rows), **settings)


def masks_of(
    config: DataConfig,
    template: ChatTemplate | str = "chatml",
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> ChatMasks:
    """The masks for the settings of a data set."""
    chosen = named(template) if isinstance(template, str) else template
    tokenizer = tokenizer or chat_tokenizer("bytes")
    return ChatMasks(chosen, tokenizer, config.train_on, config.thinking)


def decoded(ids: object) -> str:
    """The text of ids."""
    return str(chat_tokenizer("bytes").decode(ids))
