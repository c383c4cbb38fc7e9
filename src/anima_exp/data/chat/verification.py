"""Verify that a chat template and a row can be trained on, and say what differs if they cannot.

For every answer: the text that asks for it begins the text that contains it; its end is a token at
which generation stops; it contains what the assistant wrote, and nothing that anyone else wrote.
For every row: the ids are the tokenizer's own, BOS is not doubled, no control token comes from a
user's text, and the mask is neither empty nor full.
"""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from anima_exp.data.chat.rendering import Job, Turn
from anima_exp.data.chat.templates import ChatTemplate, render
from anima_exp.data.chat.tokens import ChatEncoder, Text
from anima_exp.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_USER = {"role": "user", "content": "a"}
SHOWN = 24  # how many characters before and after the first difference a message shows
_TAG_OR_WORD = re.compile(r"<[^<>]*>|[^\W\d_]+")
_HINTS = {
    "tool call": ". Templates with tools are, for example, data.template=chatml and llama3",
    "thinking": ". data.thinking=drop and data.thinking=template train without it",
}
_MAX_REMEMBERED = 10_000


def written_tokens(template: ChatTemplate, tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Return the added tokens that the template writes around a user's message.

    Some tokenizers do not mark them as special. In a user's text they have to stay text.
    """
    try:
        [text] = render(template, tokenizer, [[_USER]])
    except DataError:  # check_template says why
        return []
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    return [token.content for token in added if token.content.strip() and token.content in text]


def first_difference(one: str, other: str, where: str, elsewhere: str) -> str:
    """Return the place at which two texts differ, with a few characters of each."""
    both = zip(one, other, strict=False)
    at = next((i for i, (a, b) in enumerate(both) if a != b), min(len(one), len(other)))
    here = slice(max(0, at - SHOWN), at + SHOWN)
    return f"{one[here]!r} in {where} is {other[here]!r} in {elsewhere}"


def check_prefix(turn: Turn, encoder: ChatEncoder, hint: str = "") -> None:
    """Raise DataError if the text with an answer does not begin with the text that asks for it."""
    if not turn.full.text.startswith(turn.prompt.text):
        texts = encoder.show(turn.prompt.text), encoder.show(turn.full.text)
        raise DataError(
            f"the chat template writes message {turn.message + 1} otherwise than it asks "
            f"for it: {first_difference(*texts, 'the prompt', 'the conversation')}{hint}"
        )


class Verifier:
    """Check answers and rows of one template and tokenizer."""

    def __init__(
        self, template: ChatTemplate, tokenizer: "PreTrainedTokenizerBase", encoder: ChatEncoder
    ) -> None:
        self.template, self.tokenizer, self.encoder = template, tokenizer, encoder
        self.control = np.array(sorted(encoder.control.values()))
        self._verified: set[str] = set()  # what the template itself writes into an answer

    def check_answer(
        self,
        job: Job,
        turn: Turn,
        variables: Mapping[str, Any],
        *,
        keep_thinking: bool,
    ) -> bool:
        """Raise DataError unless an answer is what the assistant wrote, and nothing else.

        Spaces may differ, because many templates trim the texts.

        Returns:
            whether the answer shows all the thinking that its message has.
        """
        message = job.messages[turn.message]
        rest = _squeezed(turn.answer)
        thinking = _squeezed(message.get("reasoning_content", ""))
        shows_thinking = thinking in rest
        parts = [("text", _squeezed(message["content"]))]
        for call in message.get("tool_calls", ()):
            parts.append(("tool call", _squeezed(call["function"]["name"])))
        if "reasoning_content" in message and keep_thinking:
            parts.append(("thinking", thinking))
        for what, part in parts:
            if part not in rest:
                shown = self.encoder.show(turn.answer)
                raise DataError(
                    f"the chat template leaves out or changes the {what} of message "
                    f"{turn.message + 1}: it writes {shown[:SHOWN]!r}"
                    f"{'...' * (len(shown) > SHOWN)}{_HINTS.get(what, '')}"
                )
        for _, part in parts:
            rest = rest.replace(part, "\0", 1) if part else rest
        for part in _arguments(message):
            rest = rest.replace(part, "\0", 1)
        if rest not in self._verified:
            self._check_independent(job, turn, variables)
            if len(self._verified) < _MAX_REMEMBERED:
                self._verified.add(rest)
        return shows_thinking

    def _check_independent(self, job: Job, turn: Turn, variables: Mapping[str, Any]) -> None:
        """Render an answer after other words: it must stay the same to the letter."""
        others = [
            message | {"content": _other_words(message["content"])}
            for message in job.messages[: turn.message]
        ]
        texts = [
            render(
                self.template,
                self.tokenizer,
                [part],
                tools=job.tools,
                generation_prompt=asks,
                variables=variables,
            )[0]
            for part, asks in ((others, True), ([*others, job.messages[turn.message]], False))
        ]
        answer = texts[1][len(texts[0]) :]
        if not texts[1].startswith(texts[0]) or answer != turn.answer:
            show = self.encoder.show
            raise DataError(
                f"the chat template writes other messages into message "
                f"{turn.message + 1}: with other words before it, {show(turn.answer)[:SHOWN]!r} "
                f"is {show(answer)[:SHOWN]!r}"
            )

    def check_hidden(self, job: Job, turn: Turn, variables: Mapping[str, Any]) -> None:
        """Raise DataError if the template writes something else around hidden control tokens."""
        [text] = render(
            self.template,
            self.tokenizer,
            [self.encoder.show_all(job.messages[: turn.message + 1])],
            tools=self.encoder.show_all(job.tools),
            variables=variables,
        )
        if (shown := self.encoder.show(turn.full.text)) != text:
            raise DataError(
                "a message contains a control token, which the chat template does not leave as it "
                f"is: {first_difference(text, shown, 'the conversation', 'text without it')}"
            )

    def check_row(
        self, ids: npt.NDArray[np.int32], mask: npt.NDArray[np.bool_], text: Text
    ) -> None:
        """Raise DataError unless a row of trained answers is as this module promises."""
        if not mask.any():
            raise DataError("no token of the row is trained on")
        if mask.all():
            raise DataError("every token of the row would be trained on, so nothing asks for them")
        self.check_ids(ids, text)

    def check_ids(self, ids: npt.NDArray[np.int32], text: Text) -> None:
        """Raise DataError if BOS is doubled, or if a control token comes from a user's text."""
        bos = self.tokenizer.bos_token_id
        if bos is not None and ids[:2].tolist() == [bos, bos]:
            raise DataError("the chat template writes BOS twice")
        written = sum(isinstance(piece, int) for piece in text.pieces)
        if (count := int(np.isin(ids, self.control).sum())) != written:
            raise DataError(
                f"the row has {count} control tokens, but the chat template writes "
                f"{written}: the tokenizer makes a control token of ordinary text"
            )


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _other_words(text: str) -> str:
    """Return a text with other words, but with its tags, which templates may look for."""
    return _TAG_OR_WORD.sub(lambda match: match[0] if match[0][0] == "<" else "x", text)


def _arguments(message: Mapping[str, Any]) -> list[str]:
    calls = message.get("tool_calls", ())
    return [_squeezed(json.dumps(c["function"]["arguments"], ensure_ascii=False)) for c in calls]
