"""Build the prompt of a question and the turns before it, as text and as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anima_exp.data.encode import Put, TextEncoder
from anima_exp.data.formats import CHAT, Format, for_answers
from anima_exp.errors import ConfigError, ModelError, first_line

KEY = "prompt_template"

Turn = tuple[str, str]  # question, answer


@dataclass(frozen=True)
class Prompt:
    text: str
    ids: list[int]  # begins with BOS where the tokenizer has one


def stops(template: str, given: Sequence[str] | None) -> tuple[str, ...]:
    """The texts that end an answer: those given, else the format's own."""
    return for_answers(template, key=KEY).stops if given is None else tuple(given)


def has_turns(template: str) -> bool:
    """Whether the format can hold what was said before; else each question stands alone."""
    return for_answers(template, key=KEY).has_turns


def check(template: str, *, key: str = KEY) -> None:
    """Raise ConfigError unless there is such a format; `key` is the setting that names it."""
    for_answers(template, key=key)


def prompt(template: str, tokenizer: Any, question: str, before: Sequence[Turn] = ()) -> Prompt:
    """`question` in the format `template`, after the turns `before` where it has turns.

    Raises:
        ConfigError: there is no such format.
        ModelError: `chat`, and the tokenizer has no chat template.
    """
    form = for_answers(template, key=KEY)
    before = before if form.has_turns else ()

    def render(put: Put) -> str:
        turns = [(put(said), put(answer)) for said, answer in before]
        if form.tokenizers_own:
            return _chat(tokenizer, put(question), turns)
        return _dialogue(form, put(question), turns)

    [ids] = TextEncoder(tokenizer).prompts([render])
    return Prompt(render(str), ids)


def _dialogue(form: Format, question: str, before: Sequence[Turn]) -> str:
    assert form.prompt is not None
    text = ""
    for number, (said, answer) in enumerate([*before, (question, "")]):
        turn = form.prompt(said)
        if not isinstance(turn, str):
            raise ConfigError(f"{KEY}={form.name} gives no text but {type(turn).__name__}.")
        if number:
            turn = form.between + turn.removeprefix(form.opening)
        space = "" if turn.endswith((" ", "\n")) or not answer else " "
        text += f"{turn}{space}{answer}"
    return text


def _chat(tokenizer: Any, question: str, before: Sequence[Turn]) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"{KEY}={CHAT}: the tokenizer of {tokenizer.name_or_path} has no chat template. "
            f"Give the format that the model was trained on: {KEY}=guanaco, alpaca, ..."
        )
    messages = []
    for said, answer in before:
        messages += [
            {"role": "user", "content": said},
            {"role": "assistant", "content": answer},
        ]
    messages.append({"role": "user", "content": question})
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program of its own, with any error of its own
        raise ModelError(
            f"{KEY}={CHAT}: the chat template of {tokenizer.name_or_path} fails: "
            f"{first_line(error)} Give the format that the model was trained on: {KEY}=guanaco, "
            "alpaca, ..., or another tokenizer with model.tokenizer=..."
        ) from error
    return str(text)
