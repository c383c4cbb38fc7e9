"""Encode prompts and responses as the token ids and labels of training examples.

The rules are those of qlora.py (DataCollatorForCausalLM). Prompt and response are tokenized
separately, without special tokens. BOS precedes the prompt, EOS follows the response, and each part
is truncated at its own length. So SentencePiece's leading ▁ stays at the start of every response.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anima_exp.config import DataConfig
from anima_exp.data.example import Example
from anima_exp.errors import DataError, ModelError

IGNORE = -100  # the label that PyTorch's cross-entropy skips

Ids = npt.NDArray[np.int32]
IdsAndLabels = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class TruncationLimits:
    """How much of an example is kept, and where the loss is taken."""

    max_prompt: int  # BOS included; the start is kept
    max_response: int  # EOS included; the start is kept
    train_on_source: bool = False  # take the loss on the prompt too
    eos_when_truncated: bool = False  # end a response with EOS even where it was cut short


def limits(config: DataConfig) -> TruncationLimits:
    return TruncationLimits(
        max_prompt=config.max_prompt_tokens,
        max_response=config.max_response_tokens,
        train_on_source=config.train_on_source,
        eos_when_truncated=config.eos_when_truncated,
    )


def special_ids(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What goes before a prompt and behind a response: ([BOS] or [], [EOS])."""
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "The tokenizer has no end-of-sequence token, so a generated answer would never end. "
            "Choose another tokenizer with model.tokenizer=FOLDER_OR_HUB_ID."
        )
    # Qwen's models never saw a BOS: they have none.
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return begin, [tokenizer.eos_token_id]


def encode(
    prompt: Sequence[int] | Ids, response: Sequence[int] | Ids, limits: TruncationLimits
) -> IdsAndLabels:
    """Token ids of one example, and the label of each.

    Args:
        prompt: all ids, BOS included.
        response: all ids, EOS last.

    Returns:
        `ids` and `labels`, both of length T <= max_prompt + max_response. A response that does
        not fit loses its EOS, so the model is not taught to stop where the text went on.
    """
    ids = np.concatenate([prompt[: limits.max_prompt], response[: limits.max_response]])
    ids = ids.astype(np.int64)
    if limits.eos_when_truncated:
        ids[-1] = response[-1]
    labels = ids.copy()
    if not limits.train_on_source:
        labels[: min(len(prompt), limits.max_prompt)] = IGNORE
    return ids, labels


# Special tokens that a text contains are encoded as text, not as the token. A row about HTML may
# contain `</s>`, and a question may ask what `<|im_end|>` means. As tokens, they would teach the
# model to end in the middle of a response. Only this package and templates write special tokens.
Put = Callable[[str], str]
Render = Callable[[Put], str]  # writes a template; passes each text of a user through its argument

# Unicode reserves these two for a program's own use: no text that is exchanged holds them.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"


class TextEncoder:
    """One tokenizer, and the special tokens that a text may spell."""

    def __init__(self, tokenizer: Any) -> None:
        self.backend = tokenizer.backend_tokenizer
        self.begin, self.end = special_ids(tokenizer)
        added = self.backend.get_added_tokens_decoder()
        self.special = {token.content: id for id, token in added.items() if token.special}
        bos, eos = (
            {self.backend.id_to_token(id): id for id in ids} for ids in (self.begin, self.end)
        )
        self.special |= bos | eos
        self._bos = next(iter(bos), None)
        self._names = sorted(self.special, key=len, reverse=True)
        self._spelled = _any_of(self._names)
        self._opening = re.compile(rf"(?:\s*{_any_of(bos).pattern})+")
        self._closing = re.compile(rf"(?:{_any_of(eos).pattern}\s*)+\Z")

    def spelled(self, text: str) -> str | None:
        """Return the first special token that `text` spells."""
        found = self._spelled.search(text)
        return found and found.group()

    def encode(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[list[int]]:
        """Return the ids of each text, without BOS and EOS.

        Args:
            special_tokens: a special token that a text spells becomes that token.
        """
        self.backend.no_truncation()
        self.backend.no_padding()
        self.backend.encode_special_tokens = not special_tokens
        try:
            found = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        finally:
            self.backend.encode_special_tokens = False
        ids = [one.ids for one in found]
        if special_tokens:
            return ids
        return [
            self._in_two(text) if self.spelled(text) and self._holds_special(one) else one
            for text, one in zip(texts, ids, strict=True)
        ]

    def prompts(self, renders: Iterable[Render]) -> list[list[int]]:
        """Return the ids of prompts, BOS first.

        The special tokens that a template writes are special tokens; those that a user's text
        spells are text.
        """
        ids: dict[int, list[int]] = {}
        texts: dict[int, str] = {}
        for number, render in enumerate(renders):
            text, hidden = render(str), self._bos_shown(render(self._hide))
            if hidden == text:
                texts[number] = text
            else:
                ids[number] = self._pieces(hidden)
        whole = self.encode(list(texts.values()), special_tokens=True)
        ids |= zip(texts, whole, strict=True)
        return [
            ids[number] if ids[number][:1] == self.begin else [*self.begin, *ids[number]]
            for number in range(len(ids))
        ]

    def once(self, example: Example) -> Example:
        """Take BOS off the start of the example's text and EOS off its end: each row gets both.

        Raises:
            DataError: nothing is left of the response.
        """
        prompt, response = self._opened(example.prompt), example.response
        if not example.prompt:  # the response opens the row
            response = self._opened(response)
        response = self._closing.sub("", response)
        if (prompt, response) == (example.prompt, example.response):
            return example
        if not response.strip():
            raise DataError("the response contains nothing but special tokens")
        return replace(example, prompt=prompt, response=response)

    def _opened(self, text: str) -> str:
        found = self._opening.match(text)
        return text[found.end() :] if found else text

    def _holds_special(self, ids: list[int]) -> bool:
        return not set(self.special.values()).isdisjoint(ids)

    def _in_two(self, text: str) -> list[int]:
        # A Unigram vocabulary holds the special tokens as pieces of text too.
        parts = self._spelled.sub(lambda found: f"{found[0][0]}{_OPEN}{found[0][1:]}", text)
        return [id for ids in self.encode(parts.split(_OPEN)) for id in ids]

    def _hide(self, text: str) -> str:
        return self._spelled.sub(
            lambda found: f"{_OPEN}{self._names.index(found[0])}{_CLOSE}", text
        )

    def _show(self, hidden: str) -> str:
        return re.sub(f"{_OPEN}([0-9]+){_CLOSE}", lambda found: self._names[int(found[1])], hidden)

    def _bos_shown(self, hidden: str) -> str:
        """At the start of a prompt BOS is BOS, whoever wrote it."""
        written = self._bos and self._hide(self._bos)
        if written and hidden.startswith(written):
            return f"{self._bos}{hidden.removeprefix(written)}"
        return hidden

    def _pieces(self, hidden: str) -> list[int]:
        ids: list[int] = []
        at = 0
        for found in self._spelled.finditer(hidden):
            ids += self._ids(hidden[at : found.start()])
            ids.append(self.special[found.group()])
            at = found.end()
        return ids + self._ids(hidden[at:])

    def _ids(self, hidden: str) -> list[int]:
        return self.encode([self._show(hidden)])[0] if hidden else []


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """A pattern that matches one of `tokens`; of none, a pattern that never matches."""
    return re.compile(f"(?:{'|'.join(map(re.escape, tokens)) or '(?!)'})")
