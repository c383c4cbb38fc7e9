"""Encode prompts and responses as the token ids and labels of training examples.

The rules are those of qlora.py (DataCollatorForCausalLM). Prompt and response are tokenized
separately, without special tokens. BOS precedes the prompt, EOS follows the response, and each part
is truncated at its own length. So SentencePiece's leading ▁ stays at the start of every response.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from anima_exp.config import DataConfig
from anima_exp.data.example import Example
from anima_exp.errors import DataError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORE = -100  # the label that PyTorch's cross-entropy skips

Ids = npt.NDArray[np.int32]
IdsAndLabels = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class TruncationLimits:
    """How much of an example is kept, and which of its tokens have labels."""

    max_prompt: int  # BOS included; the start is kept
    max_response: int  # EOS included; the start is kept
    train_on_source: bool = False  # compute the loss on the prompt too
    eos_when_truncated: bool = False  # end a truncated response with EOS too


def limits(config: DataConfig) -> TruncationLimits:
    """Return the limits that the settings of `data` describe."""
    return TruncationLimits(
        max_prompt=config.max_prompt_tokens,
        max_response=config.max_response_tokens,
        train_on_source=config.train_on_source,
        eos_when_truncated=config.eos_when_truncated,
    )


def special_ids(tokenizer: "PreTrainedTokenizerBase") -> tuple[list[int], list[int]]:
    """Return the ids before a prompt and after a response: ([BOS] or [], [EOS]).

    Raises:
        ModelError: if the tokenizer has no end-of-sequence token.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "The tokenizer has no end-of-sequence token, so a generated answer would never end. "
            "Choose another tokenizer with model.tokenizer=FOLDER_OR_HUB_ID."
        )
    # Some models, such as Qwen's, were trained without a BOS.
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    return begin, [tokenizer.eos_token_id]


def encode(
    prompt: Sequence[int] | Ids, response: Sequence[int] | Ids, limits: TruncationLimits
) -> IdsAndLabels:
    """Return the token ids of one example, and the label of each.

    Args:
        prompt: all ids, BOS included.
        response: all ids, EOS last.

    Returns:
        `ids` and `labels`, both `[T]` with T <= max_prompt + max_response. By default a truncated
        response loses its EOS, so the model is not trained to stop in the middle of a text.
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
Render = Callable[[Put], str]  # fills in a template; its argument transforms each user's text

# Unicode reserves these two for internal use, so no exchanged text contains them.
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
_HIDDEN = re.compile(f"{_OPEN}([0-9]{{1,9}}){_CLOSE}")


class TextEncoder:
    """Encode texts so that special tokens in a user's text stay text.

    `also` names added tokens that are not marked as special, but have to stay text as well.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", also: Iterable[str] = ()) -> None:
        self.backend = tokenizer.backend_tokenizer
        self.begin, self.end = special_ids(tokenizer)
        added = self.backend.get_added_tokens_decoder()
        self.special = {token.content: id for id, token in added.items() if token.special}
        bos, eos = (
            {self.backend.id_to_token(id): id for id in ids} for ids in (self.begin, self.end)
        )
        self.special |= bos | eos | {name: self.backend.token_to_id(name) for name in also}
        self._bos = next(iter(bos), None)
        self._names = sorted(self.special, key=len, reverse=True)
        self._spelled = _any_of(self._names)
        self._opening = re.compile(rf"(?:\s*{_any_of(bos).pattern})+")
        self._closing = re.compile(rf"(?:{_any_of(eos).pattern}\s*)+\Z")

    def spelled(self, text: str) -> str | None:
        """Return the first special token that `text` contains as text, or None."""
        match = self._spelled.search(text)
        return match and match.group()

    def encode(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[list[int]]:
        """Return the ids of each text, without BOS and EOS.

        Args:
            special_tokens: encode a special token in a text as that token.
        """
        self.backend.no_truncation()
        self.backend.no_padding()
        self.backend.encode_special_tokens = not special_tokens
        try:
            encodings = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        finally:
            self.backend.encode_special_tokens = False
        ids = [encoding.ids for encoding in encodings]
        if special_tokens:
            return ids
        return [
            self._encode_split(text) if self.spelled(text) and self._has_special(row) else row
            for text, row in zip(texts, ids, strict=True)
        ]

    def prompts(self, renders: Iterable[Render]) -> list[list[int]]:
        """Return the ids of prompts, BOS first.

        Special tokens of the template become tokens. Those in a user's text are encoded as text.
        """
        ids: dict[int, list[int]] = {}
        texts: dict[int, str] = {}
        for number, render in enumerate(renders):
            text, hidden = render(str), self._bos_shown(render(self.hide))
            if hidden == text:
                texts[number] = text
            else:
                ids[number] = self._pieces(hidden)
        encoded = self.encode(list(texts.values()), special_tokens=True)
        ids |= zip(texts, encoded, strict=True)
        return [
            ids[number] if ids[number][:1] == self.begin else [*self.begin, *ids[number]]
            for number in range(len(ids))
        ]

    def without_bos_and_eos(self, example: Example) -> Example:
        """Remove BOS from the start and EOS from the end of an example: every row gets both later.

        Raises:
            DataError: if nothing is left of the response.
        """
        prompt, response = self._without_bos(example.prompt), example.response
        if not example.prompt:  # the row begins with the response
            response = self._without_bos(response)
        response = self._closing.sub("", response)
        if (prompt, response) == (example.prompt, example.response):
            return example
        if not response.strip():
            raise DataError("the response contains nothing but special tokens")
        return replace(example, prompt=prompt, response=response)

    def _without_bos(self, text: str) -> str:
        match = self._opening.match(text)
        return text[match.end() :] if match else text

    def _has_special(self, ids: list[int]) -> bool:
        return not set(self.special.values()).isdisjoint(ids)

    def _encode_split(self, text: str) -> list[int]:
        # A Unigram vocabulary also has the special tokens as pieces of text. Split after their
        # first character, they cannot become the token.
        parts = self._spelled.sub(lambda match: f"{match[0][0]}{_OPEN}{match[0][1:]}", text)
        return [id for ids in self.encode(parts.split(_OPEN)) for id in ids]

    def hide(self, text: str) -> str:
        """Return `text` with its special tokens in a form in which no template writes one."""
        return self._spelled.sub(
            lambda match: f"{_OPEN}{self._names.index(match[0])}{_CLOSE}", text
        )

    def show(self, hidden: str) -> str:
        """Return the text from which `hide` made `hidden`."""
        return _HIDDEN.sub(self._shown, hidden)

    def _shown(self, match: re.Match[str]) -> str:
        number = int(match[1])
        return self._names[number] if number < len(self._names) else match[0]

    def _bos_shown(self, hidden: str) -> str:
        """Let BOS at the start of a prompt be the token, even in a user's text."""
        written = self._bos and self.hide(self._bos)
        if written and hidden.startswith(written):
            return f"{self._bos}{hidden.removeprefix(written)}"
        return hidden

    def _pieces(self, hidden: str) -> list[int]:
        ids: list[int] = []
        at = 0
        for match in self._spelled.finditer(hidden):
            ids += self._ids(hidden[at : match.start()])
            ids.append(self.special[match.group()])
            at = match.end()
        return ids + self._ids(hidden[at:])

    def _ids(self, hidden: str) -> list[int]:
        return self.encode([self.show(hidden)])[0] if hidden else []


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that matches any of `tokens`, and nothing if there are none."""
    return re.compile(f"(?:{'|'.join(map(re.escape, tokens)) or '(?!)'})")
