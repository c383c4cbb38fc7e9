"""Find the token that ends an answer, at which generation stops."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from anima_exp.data.chat.rendering import Turn
from anima_exp.data.chat.templates import ChatTemplate, render
from anima_exp.data.chat.tokens import ChatEncoder, Piece, Text
from anima_exp.data.chat.verification import SHOWN
from anima_exp.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_USER, _ANSWER = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
_CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {"type": "function", "id": "abcdefghi", "function": {"name": "b", "arguments": {"a": 1}}}
    ],
}
_RESULT = {"role": "tool", "content": "a", "name": "b", "tool_call_id": "abcdefghi"}


class _End(NamedTuple):
    """A control token at the end of a text."""

    piece: int  # its number among the pieces
    behind: int  # how many ids there are from it to the end
    token: int


class EndOfTurn:
    """Find the end of the answers of one template.

    Most templates write a token after each answer. A few, such as GLM's, end an answer with the
    token that opens the next message. They are accepted if generation stops at that token.
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenizer: "PreTrainedTokenizerBase",
        encoder: ChatEncoder,
        stops: Collection[int],
    ) -> None:
        self.encoder = encoder
        self._stops = stops
        self.usual: int | None = None  # the token that ends a plain answer
        self._opening: dict[bool, int] = {}  # the next message's first token, if no other ends it

        def texts(*tried: list[dict[str, Any]]) -> list[Text]:
            return [encoder.divide(text) for text in render(template, tokenizer, tried)]

        [plain] = texts([_USER, _ANSWER])
        try:
            [continued] = texts([_USER, _ANSWER, _USER])
        except DataError:  # it takes one answer only
            continued = plain
        if run := self._closing(plain):
            # A template may write one more token after the last message of a text than elsewhere.
            kept = [end for end in run if end.piece < _shared(plain.pieces, continued.pieces)]
            self.usual = (kept or run)[-1].token
        elif continued.text.startswith(plain.text):
            self._set_opening(False, continued.pieces[len(plain.pieces) :])
        if self.usual is None and not self._opening:
            end = encoder.show(plain.text)[-SHOWN:]
            raise DataError(
                "the chat template writes no token after an answer, at which generation could "
                f"stop: a conversation ends with {end!r}"
            )
        if self._opening:
            [call, result] = texts([_USER, _CALL], [_USER, _CALL, _RESULT])
            self._set_opening(True, result.pieces[len(call.pieces) :])

    @property
    def ids(self) -> list[int]:
        """The ids that end a plain answer and, if it differs, a tool call."""
        usual = [] if self.usual is None else [self.usual]
        return [*usual, *dict.fromkeys(self._opening.values())]

    def _set_opening(self, calls: bool, pieces: Sequence[Piece]) -> None:
        if pieces and isinstance(pieces[0], int) and pieces[0] in self._stops:
            self._opening[calls] = pieces[0]

    def find(self, turn: Turn, *, calls: bool) -> None:
        """Set the end of the answer in a turn whose ids are known. `calls`: it calls a tool.

        Raises:
            DataError: no token ends it, or generation would stop before its end.
        """
        ids = turn.ids
        if calls in self._opening:
            turn.ids = [*ids, self._opening[calls]]
            turn.end = len(turn.ids)
            turn.full = self.encoder.followed_by(turn.full, self._opening[calls])
            return
        run = self._closing(turn.full)
        usual = [end for end in run if end.token == self.usual]
        if not run:
            raise DataError(
                f"the chat template writes no token that ends message {turn.message + 1}, so "
                f"generation could not stop after {self.encoder.show(turn.answer)[-SHOWN:]!r}"
            )
        end = (usual or run[-1:])[0]
        turn.end = len(ids) - end.behind + 1
        if end.token in ids[turn.start : turn.end - 1]:
            raise DataError(
                f"message {turn.message + 1} contains the token that ends it, so generation would "
                "stop before its end"
            )

    def _closing(self, text: Text) -> list[_End]:
        """Return the control tokens at the end of a text, between which are only spaces."""
        self.encoder.prepare([text])
        found: list[_End] = []
        behind = 0
        for number, piece in reversed([*enumerate(text.pieces)]):
            if isinstance(piece, int):
                behind += 1
                found.append(_End(number, behind, piece))
            elif piece.strip():
                break
            else:
                behind += len(self.encoder.ids([piece], first=False))
        return found[::-1]


def _shared(one: Sequence[Piece], other: Sequence[Piece]) -> int:
    """Return how many pieces are the same at the start of both."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))
