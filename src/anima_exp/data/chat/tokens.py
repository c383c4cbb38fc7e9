"""Encode rendered conversations, so that only the template writes control tokens.

A text is divided at its control tokens, and each piece between them is encoded once. Tokenizers
divide a text in the same way before they do anything else, so the ids are those of the whole text.
ChatMasks verifies that. Pieces make prefixes cheap: a conversation's prompts share all but one.

Control tokens are the special tokens and those that the template writes around messages. Others,
such as Qwen3's <think>, are tokens in any text, because the tokenizer makes them so at inference.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anima_exp.data.encode import TextEncoder
from anima_exp.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Piece = str | int  # text, maybe with hidden spellings of control tokens; or a control token
_MAX_REMEMBERED = 5_000


@dataclass(frozen=True)
class Text:
    """A rendered text and its pieces. `start` is the offset of the last control token."""

    text: str
    pieces: tuple[Piece, ...]
    start: int = 0
    before: int = 0  # how many pieces end at `start`


@dataclass
class ChatEncoder:
    """Encode texts of one tokenizer and one template."""

    tokenizer: "PreTrainedTokenizerBase"
    written: Sequence[str] = ()  # added tokens that the template writes around messages
    _known: dict[tuple[bool, str], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.encoder = TextEncoder(self.tokenizer, self.written)
        added = self.encoder.backend.get_added_tokens_decoder().values()
        # Such a token takes the spaces next to it into itself.
        spaces = {token.content: (token.lstrip, token.rstrip) for token in added}
        self.control = self.encoder.special
        patterns = []
        for name in sorted(self.control, key=len, reverse=True):
            left, right = (r"\s*" if takes else "" for takes in spaces.get(name, (False, False)))
            patterns.append(f"{left}{re.escape(name)}{right}")
        self._pattern = re.compile("|".join(patterns) or "(?!)")
        plain = next((n for n in self.control if spaces.get(n) == (False, False)), None)
        # Some tokenizers write a space before the first piece alone, and not before later ones.
        self._anchor = plain if plain and self._needs_anchor(plain) else None

    def spelled(self, value: Any) -> bool:
        """Return whether a text in a JSON value spells a control token."""
        return any(self.encoder.spelled(text) for text in _texts(value))

    def hide_all(self, value: Any) -> Any:
        """Return a JSON value in whose texts no control token can be recognized."""
        if isinstance(value, str):
            return self.encoder.hide(value)
        return _mapped(value, self.hide_all)

    def show_all(self, value: Any) -> Any:
        """Return the JSON value from which `hide_all` made `value`."""
        return self.show(value) if isinstance(value, str) else _mapped(value, self.show_all)

    def show(self, text: str) -> str:
        """Return the text as a user wrote it."""
        return self.encoder.show(text)

    def divide(self, text: str, before: Text | None = None) -> Text:
        """Return the pieces of a text. If it begins with the text `before`, that part is reused."""
        start, pieces = 0, []
        if before and text.startswith(before.text):
            start, pieces = before.start, list(before.pieces[: before.before])
        at = start
        count = len(pieces)
        for match in self._pattern.finditer(text, start):
            if match.start() > at:
                pieces.append(text[at : match.start()])
            start, count = match.start(), len(pieces)
            token = self.control.get(match[0])
            pieces.append(self.control[match[0].strip()] if token is None else token)
            at = match.end()
        if at < len(text):
            pieces.append(text[at:])
        return Text(text, tuple(pieces), start, count)

    def followed_by(self, text: Text, token: int) -> Text:
        """Return a text with a control token after it."""
        name = self.encoder.backend.id_to_token(token)
        return Text(f"{text.text}{name}", (*text.pieces, token))

    def begin_batch(self) -> None:
        """Forget the pieces of earlier texts if they are many."""
        if len(self._known) > _MAX_REMEMBERED:
            self._known.clear()

    def prepare(self, texts: Iterable[Text]) -> None:
        """Encode all the pieces of `texts` at once, which is faster than one by one."""
        new = {
            (self._anchor is not None and number > 0, piece): None
            for text in texts
            for number, piece in enumerate(text.pieces)
            if isinstance(piece, str)
        }
        todo = [key for key in new if key not in self._known]
        if not todo:
            return
        alone = [piece for later, piece in todo if not later]
        self._known |= zip(
            ((False, piece) for piece in alone),
            self.encoder.encode([self.encoder.show(piece) for piece in alone]),
            strict=True,
        )
        for later, piece in todo:
            if later:
                self._known[later, piece] = self._continuation(self.encoder.show(piece))

    def ids(self, pieces: Sequence[Piece], *, first: bool = True) -> list[int]:
        """Return the ids of the pieces of a text that `prepare` has seen."""
        found: list[int] = []
        for number, piece in enumerate(pieces):
            if isinstance(piece, int):
                found.append(piece)
            else:
                found += self._known[self._anchor is not None and (number > 0 or not first), piece]
        return found

    def encode(self, text: str) -> list[int]:
        """Return the ids of a rendered text."""
        divided = self.divide(text)
        self.prepare([divided])
        return self.ids(divided.pieces)

    def whole(self, text: str) -> list[int]:
        """Return the ids that the tokenizer itself gives to a text without hidden spellings."""
        return self.encoder.encode([text], special_tokens=True)[0]

    def wholes(self, texts: Sequence[str]) -> list[list[int]]:
        """Return `whole` of several texts."""
        return self.encoder.encode(texts, special_tokens=True)

    def after(self, prompt: Sequence[int], text: str) -> list[int]:
        """Return the ids of a text that continues `prompt`, without changing the prompt's ids.

        Raises:
            DataError: no ids after this prompt are decoded to the text.
        """
        pieces = self.divide(text).pieces
        if not pieces or isinstance(pieces[0], int):
            return self.encode(text)
        start = self.encoder.show(pieces[0])
        rest = Text(text, pieces)
        self.prepare([rest])
        last = list(prompt[-8:])
        wanted = self._decode(last) + start
        for ids in (self.encoder.encode([start])[0], self._continuation(start)):
            if self._decode(last + ids) == wanted:
                return ids + self.ids(pieces[1:], first=False)
        raise DataError(
            f"the tokenizer has no ids for {start[:20]!r} after the end of the prompt "
            f"{self._decode(last)!r}"
        )

    def _decode(self, ids: list[int]) -> str:
        text = self.tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return str(text)

    def _needs_anchor(self, token: str) -> bool:
        whole = self.encoder.encode([f"{token}a"], special_tokens=True)[0]
        return whole != [self.control[token], *self.encoder.encode(["a"])[0]]

    def _continuation(self, text: str) -> list[int]:
        """Return the ids of a piece that does not begin a text."""
        if self._anchor and not self.encoder.spelled(text):
            return self.encoder.encode([self._anchor + text], special_tokens=True)[0][1:]
        # A line break before it takes the space that SentencePiece writes before a first word.
        opening, both = self.encoder.encode(["\n", f"\n{text}"])
        if both[: len(opening)] == opening:
            return both[len(opening) :]
        return self.encoder.encode([text])[0]


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for inner in pair for text in _texts(inner))
    elif isinstance(value, list):
        yield from (text for inner in value for text in _texts(inner))


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {change(key): change(inner) for key, inner in value.items()}
    return [change(inner) for inner in value] if isinstance(value, list) else value
