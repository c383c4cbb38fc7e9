"""Let a base and its adapters answer in turn, each with its own prompt format and conversation.

Answers are streamed to the terminal while they are generated.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from anima_exp.data.chat.asking import (
    Prompt,
    is_thinking,
    split_thinking,
    with_opening,
)
from anima_exp.data.chat.conversation import Conversation
from anima_exp.data.prompts import Prompter, Turn
from anima_exp.errors import DataError
from anima_exp.inference.answers import GenerationRequest, seed
from anima_exp.model.base_config import context_length
from anima_exp.model.decoding import Answer, decode
from anima_exp.model.generation import inference_mode
from anima_exp.system.terminal import printable

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Hidden = Callable[[str], None]  # receives the thinking that is not shown


class Stream:
    """Write the new part of an answer each time it receives the text so far.

    Half a character, white space at the end, and the beginning of a possible stop string are held
    back until more text follows. Control characters are escaped.

    Args:
        hidden: receives the answer's thinking when it is complete, instead of `write`.
    """

    def __init__(
        self, write: Callable[[str], None], stops: Sequence[str], hidden: Hidden | None = None
    ) -> None:
        self.write, self.stops, self.hidden = write, stops, hidden
        self.text = ""  # shown so far

    def __call__(self, text: str) -> None:
        self._show(_stable_prefix(self._shown_part(text.lstrip()), self.stops))

    def end(self, text: str) -> None:
        """Write the rest of the answer, and end the line."""
        self._show(self._shown_part(text.strip(), complete=True))
        self.write("\n")

    def _shown_part(self, text: str, *, complete: bool = False) -> str:
        """Return the text, or without its thinking if that is hidden."""
        if self.hidden is None:
            return text
        if not complete and is_thinking(text):
            return ""
        thinking, rest = split_thinking(text)
        if thinking is not None:
            self.hidden(thinking)
            self.hidden = _not_again
        return rest.lstrip()

    def _show(self, text: str) -> None:
        new = text[len(self.text) :]
        if new:
            self.write(printable(new))
            self.text += new


def _not_again(thinking: str) -> None:
    """Receive the thinking that was received before."""


def _stable_prefix(text: str, stops: Sequence[str]) -> str:
    text = text.rstrip("\ufffd")  # a token may end inside a character
    lengths = [
        length for stop in stops for length in range(1, len(stop)) if text.endswith(stop[:length])
    ]
    return text[: len(text) - max(lengths, default=0)].rstrip()


BASE, ADAPTER = "base", "adapter"


@dataclass
class ChatParticipant:
    """A participant of a chat: an adapter, or the base with all adapters disabled."""

    name: str
    adapter: str | None  # PEFT's name of the adapter; None: the base
    request: GenerationRequest
    history: list[Turn] = field(default_factory=list)
    # Its chat template and end token, if they are not those of the first adapter.
    tokenizer: "PreTrainedTokenizerBase | None" = None
    _prompter: Prompter | None = None

    def prompter(self, tokenizer: "PreTrainedTokenizerBase") -> Prompter:
        """Return what builds the prompts of this participant.

        Raises:
            ConfigError, ModelError: see Prompter.
        """
        if self._prompter is None:
            self._prompter = self.request.prompter(self.tokenizer or tokenizer)
        return self._prompter

    def stream(self, write: Callable[[str], None], hidden: Hidden | None = None) -> Stream:
        """Return a stream that writes an answer of this participant.

        Args:
            hidden: receives the thinking of an answer in a chat template instead.
        """
        stop = self.request.sampling().stop
        return Stream(write, stop, hidden if self.request.is_chat else None)

    def use_system(self, system: str | None, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Set or remove the system prompt.

        Raises:
            ConfigError, ModelError: if the format does not take it. Then nothing is changed.
        """
        options = replace(self.request.options, system=system)
        request = replace(self.request, options=options)
        prompter = request.prompter(self.tokenizer or tokenizer)
        prompter.prompt("")
        self.request, self._prompter = request, prompter


def width(speakers: Sequence[ChatParticipant]) -> int:
    """Return the width of the column of names, including the space after them."""
    return max(len(speaker.name) for speaker in speakers) + 2


def answer(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    speaker: ChatParticipant,
    built: Prompt,
    stream: Stream,
    *,
    number: int,
) -> Answer:
    """Return the answer of `speaker` to a prompt, and stream it while it is generated.

    An answer whose thinking the prompt has opened gets the opening tag.

    Args:
        number: the number of the question in the conversation, which seeds the sampling.
    """
    request, tokenizer = speaker.request, speaker.tokenizer or tokenizer

    def whole(text: str) -> str:
        return with_opening(text, built) if request.is_chat else text

    with _as(speaker, model), inference_mode(model, request.precision):
        [generated] = decode(
            model,
            tokenizer,
            [built.ids],
            request.sampling(),
            stop_ids=speaker.prompter(tokenizer).stop_ids,
            seeds=[seed(request.config.sampling_seed, number)],
            watch=lambda text: stream(whole(text)),
        )
    stream.end(whole(generated.text))
    return replace(generated, text=whole(generated.text))


def _as(
    speaker: ChatParticipant, model: "PreTrainedModel | PeftModel"
) -> AbstractContextManager[Any]:
    if not hasattr(model, "disable_adapter"):  # a base model alone
        return nullcontext()
    adapted = cast("PeftModel", model)
    if speaker.adapter is None:
        return adapted.disable_adapter()
    if adapted.active_adapter != speaker.adapter:
        adapted.set_adapter(speaker.adapter, inference_mode=True)
    return nullcontext()


def thinking_tokens(tokenizer: "PreTrainedTokenizerBase", thinking: str) -> str:
    """Return how long the thinking of an answer is."""
    count = len(tokenizer.encode(thinking, add_special_tokens=False))
    return f"thinking: {count:,} tokens"


def answer_once(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    speakers: Sequence[ChatParticipant],
    question: str | Conversation,
    *,
    write: Callable[[str], None],
    tell: Callable[[str], None],
    show_thinking: bool = True,
) -> None:
    """Let every speaker answer once. With several speakers, names precede the answers.

    Args:
        write: writes the answers, and nothing else, so that they can be piped.
        tell: receives remarks about an answer, for example that it is truncated.

    Raises:
        DataError: if the question leaves no room for an answer in the model's context, or the
            format cannot show the conversation.
    """
    context = context_length(model.config)
    prompts = [_prompt(speaker.prompter(tokenizer), question) for speaker in speakers]
    longest = max(len(built.ids) for built in prompts)
    if context is not None and longest >= context:
        raise DataError(
            f"The prompt has {longest} tokens, but the context of {model.config.name_or_path} "
            f"holds {context}, the answer included. Shorten the question."
        )
    for speaker, built in zip(speakers, prompts, strict=True):
        who = f"{speaker.name}: " if len(speakers) > 1 else ""

        def hidden(thinking: str, who: str = who) -> None:
            tell(f"{who}{thinking_tokens(tokenizer, thinking)}, not shown (show_thinking=false).")

        if len(speakers) > 1:
            write(f"{speaker.name:<{width(speakers)}}")
        stream = speaker.stream(write, None if show_thinking else hidden)
        given = answer(model, tokenizer, speaker, built, stream, number=1)
        text = split_thinking(given.text)[1] if speaker.request.is_chat else given.text
        if given.finish == "length":
            tell(
                f"{who}truncated after {given.tokens} tokens, at max_new_tokens or at the end of "
                "the model's context."
            )
        elif not text.strip():
            tell(f"{who}the answer is empty.")


def _prompt(prompter: Prompter, question: str | Conversation) -> Prompt:
    if isinstance(question, str):
        return prompter.prompt(question)
    try:
        return prompter.conversation(question)
    except DataError as error:
        raise DataError(f"The conversation cannot be answered: {error}") from error
