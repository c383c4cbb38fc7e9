"""One question -> its answer on the terminal and nothing else, so that it can be piped."""

from collections.abc import Callable, Sequence
from typing import Any

from anima_exp.answers.prompts import prompt
from anima_exp.answers.speaker import Speaker, answer, width
from anima_exp.errors import DataError
from anima_exp.model.base_config import context_length


def ask(
    model: Any,
    tokenizer: Any,
    speakers: Sequence[Speaker],
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
            f"The prompt has {longest} tokens, but {model.config.name_or_path} reads at most "
            f"{most}, its answer included. Ask less at once."
        )
    for speaker, put in zip(speakers, prompts, strict=True):
        if len(speakers) > 1:
            write(f"{speaker.name:<{width(speakers)}}")
        found = answer(model, tokenizer, speaker, put, speaker.stream(write), number=1)
        who = f"{speaker.name}: " if len(speakers) > 1 else ""
        if found.finish == "length":
            tell(f"{who}cut after {found.tokens} tokens: max_new_tokens, or the model's context.")
        elif not found.text.strip():
            tell(f"{who}the answer is empty.")
