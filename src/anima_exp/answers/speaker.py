"""One base with its adapters -> speakers, each with its own format and memory, asked by turns."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from anima_exp.answers.prompts import Prompt, Turn
from anima_exp.answers.stream import Stream
from anima_exp.answers.write import Asked, seed
from anima_exp.model.decode import Answer, decode
from anima_exp.model.generate import inference

BASE, ADAPTER = "base", "adapter"


@dataclass
class Speaker:
    """Who answers: an adapter, or the base with every adapter switched off."""

    name: str
    adapter: str | None  # what PEFT calls it; None = the base
    asked: Asked
    said: list[Turn] = field(default_factory=list)

    def stream(self, write: Callable[[str], None]) -> Stream:
        return Stream(write, self.asked.sampling().stop)


def width(speakers: Sequence[Speaker]) -> int:
    """Of the names that open the lines of several speakers, the space behind them included."""
    return max(len(speaker.name) for speaker in speakers) + 2


def answer(
    model: Any,
    tokenizer: Any,
    speaker: Speaker,
    put: Prompt,
    stream: Stream,
    *,
    number: int,
) -> Answer:
    """What `speaker` says to `put`, the conversation's question `number`, shown as it grows."""
    how = speaker.asked.sampling()
    with _as(speaker, model), inference(model, speaker.asked.precision):
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


def _as(speaker: Speaker, model: Any) -> AbstractContextManager[Any]:
    adapted = hasattr(model, "disable_adapter")
    if speaker.adapter is None:
        return model.disable_adapter() if adapted else nullcontext()
    if model.active_adapter != speaker.adapter:
        model.set_adapter(speaker.adapter, inference_mode=True)
    return nullcontext()
