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
    """Writes what is new of an answer each time it is told the text so far.

    Held back until more is known: half a character, white space at the end, and what may yet
    become a stop string. Control characters are spelled out.
    """

    def __init__(self, write: Callable[[str], None], stops: Sequence[str]) -> None:
        self.write, self.stops = write, stops
        self.text = ""  # shown so far

    def __call__(self, text: str) -> None:
        self._show(_certain(text.lstrip(), self.stops))

    def end(self, text: str) -> None:
        """Show the rest of the whole answer, and end the line."""
        self._show(text.strip())
        self.write("\n")

    def _show(self, text: str) -> None:
        new = text[len(self.text) :]
        if new:
            self.write(printable(new))
            self.text += new


def _certain(text: str, stops: Sequence[str]) -> str:
    text = text.rstrip("\ufffd")  # a token may end inside a character
    begun = [
        length for stop in stops for length in range(1, len(stop)) if text.endswith(stop[:length])
    ]
    return text[: len(text) - max(begun, default=0)].rstrip()


BASE, ADAPTER = "base", "adapter"


@dataclass
class ChatParticipant:
    """Who answers: an adapter, or the base with every adapter switched off."""

    name: str
    adapter: str | None  # what PEFT calls it; None = the base
    asked: GenerationRequest
    said: list[Turn] = field(default_factory=list)

    def stream(self, write: Callable[[str], None]) -> Stream:
        return Stream(write, self.asked.sampling().stop)


def width(speakers: Sequence[ChatParticipant]) -> int:
    """Of the names that open the lines of several speakers, the space behind them included."""
    return max(len(speaker.name) for speaker in speakers) + 2


def answer(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    speaker: ChatParticipant,
    put: Prompt,
    stream: Stream,
    *,
    number: int,
) -> Answer:
    """What `speaker` says to `put`, the conversation's question `number`, shown as it grows."""
    how = speaker.asked.sampling()
    with _as(speaker, model), inference_mode(model, speaker.asked.precision):
        [found] = decode(
            model,
            tokenizer,
            [put.ids],
            how,
            seeds=[seed(speaker.asked.config.sampling_seed, number)],
            watch=stream,
        )
    stream.end(found.text)
    return found


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
    """Let every speaker answer `question`; where they are several, each line opens with a name.

    Args:
        tell: takes what is to be known about an answer and is no part of it.

    Raises:
        DataError: the question leaves no room in the model's context.
    """
    most = context_length(model.config)
    prompts = [prompt(speaker.asked.template, tokenizer, question) for speaker in speakers]
    longest = max(len(put.ids) for put in prompts)
    if most is not None and longest >= most:
        raise DataError(
            f"The prompt has {longest} tokens, but the context of {model.config.name_or_path} "
            f"holds {most}, the answer included. Shorten the question."
        )
    for speaker, put in zip(speakers, prompts, strict=True):
        if len(speakers) > 1:
            write(f"{speaker.name:<{width(speakers)}}")
        found = answer(model, tokenizer, speaker, put, speaker.stream(write), number=1)
        who = f"{speaker.name}: " if len(speakers) > 1 else ""
        if found.finish == "length":
            tell(
                f"{who}truncated after {found.tokens} tokens, at max_new_tokens or at the end of "
                "the model's context."
            )
        elif not found.text.strip():
            tell(f"{who}the answer is empty.")
