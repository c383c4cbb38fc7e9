"""Let a base and its adapters answer in turn, each with its own prompt format and conversation.

Answers are streamed to the terminal while they are generated.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from anima_exp.data.prompts import Prompt, Turn, prompt
from anima_exp.errors import DataError
from anima_exp.inference.answers import GenerationRequest, seed
from anima_exp.model.base_config import context_length
from anima_exp.model.decoding import Answer, decode
from anima_exp.model.generation import inference_mode
from anima_exp.system.terminal import printable

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Stream:
    """Write the new part of an answer each time it receives the text so far.

    Half a character, white space at the end, and the beginning of a possible stop string are held
    back until more text follows. Control characters are escaped.
    """

    def __init__(self, write: Callable[[str], None], stops: Sequence[str]) -> None:
        self.write, self.stops = write, stops
        self.text = ""  # shown so far

    def __call__(self, text: str) -> None:
        self._show(_stable_prefix(text.lstrip(), self.stops))

    def end(self, text: str) -> None:
        """Write the rest of the answer, and end the line."""
        self._show(text.strip())
        self.write("\n")

    def _show(self, text: str) -> None:
        new = text[len(self.text) :]
        if new:
            self.write(printable(new))
            self.text += new


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

    def stream(self, write: Callable[[str], None]) -> Stream:
        """Return a stream that writes an answer of this participant."""
        return Stream(write, self.request.sampling().stop)


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

    Args:
        number: the number of the question in the conversation, which seeds the sampling.
    """
    sampling = speaker.request.sampling()
    with _as(speaker, model), inference_mode(model, speaker.request.precision):
        [generated] = decode(
            model,
            tokenizer,
            [built.ids],
            sampling,
            seeds=[seed(speaker.request.config.sampling_seed, number)],
            watch=stream,
        )
    stream.end(generated.text)
    return generated


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


def answer_once(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    speakers: Sequence[ChatParticipant],
    question: str,
    *,
    write: Callable[[str], None],
    tell: Callable[[str], None],
) -> None:
    """Let every speaker answer one question. With several speakers, names precede the answers.

    Args:
        write: writes the answers, and nothing else, so that they can be piped.
        tell: receives remarks about an answer, for example that it is truncated.

    Raises:
        DataError: if the question leaves no room for an answer in the model's context.
    """
    context = context_length(model.config)
    prompts = [prompt(speaker.request.template, tokenizer, question) for speaker in speakers]
    longest = max(len(built.ids) for built in prompts)
    if context is not None and longest >= context:
        raise DataError(
            f"The prompt has {longest} tokens, but the context of {model.config.name_or_path} "
            f"holds {context}, the answer included. Shorten the question."
        )
    for speaker, built in zip(speakers, prompts, strict=True):
        if len(speakers) > 1:
            write(f"{speaker.name:<{width(speakers)}}")
        given = answer(model, tokenizer, speaker, built, speaker.stream(write), number=1)
        who = f"{speaker.name}: " if len(speakers) > 1 else ""
        if given.finish == "length":
            tell(
                f"{who}truncated after {given.tokens} tokens, at max_new_tokens or at the end of "
                "the model's context."
            )
        elif not given.text.strip():
            tell(f"{who}the answer is empty.")
