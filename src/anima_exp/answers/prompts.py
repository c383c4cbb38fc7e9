"""A question, and what was said before it -> the prompt, as text and as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from anima_exp.data import templates
from anima_exp.data.special_tokens import Put, TextEncoder
from anima_exp.errors import ConfigError, ModelError, first_line
from anima_exp.lookup import function

CHAT = "chat"  # the tokenizer's own chat template
KEY = "prompt_template"

# Formats that were trained on dialogues, and the text at which the other speaker's turn begins.
_NEXT_TURN = {
    "guanaco": "###",
    "guanaco_chat": "###",
    "guanaco_benchmark": "###",
    "hh_rlhf": "\n\nHuman:",
}
# Alpaca has no turns, but its next section begins so; QLoRA cuts every answer there.
_STOPS = {**_NEXT_TURN, "alpaca": "###"}

Turn = tuple[str, str]  # question, answer


@dataclass(frozen=True)
class Prompt:
    text: str
    ids: list[int]  # begins with BOS where the tokenizer has one


def stops(template: str, given: Sequence[str] | None) -> tuple[str, ...]:
    """The texts that end an answer: those given, else the format's own."""
    if given is not None:
        return tuple(given)
    return (_STOPS[template],) if template in _STOPS else ()


def has_turns(template: str) -> bool:
    """Whether the format can hold what was said before; else each question stands alone."""
    return template == CHAT or template in _NEXT_TURN


def check(template: str, *, key: str = KEY) -> None:
    """Raise ConfigError unless there is such a format; `key` is the setting that names it."""
    if template != CHAT:
        function(template, among=templates, key=key)


def prompt(template: str, tokenizer: Any, question: str, before: Sequence[Turn] = ()) -> Prompt:
    """`question` in the format `template`, after the turns `before` where it has turns.

    Raises:
        ConfigError: there is no such format.
        ModelError: `chat`, and the tokenizer has no chat template.
    """
    before = before if has_turns(template) else ()

    def render(put: Put) -> str:
        turns = [(put(said), put(answer)) for said, answer in before]
        if template == CHAT:
            return _chat(tokenizer, put(question), turns)
        return _dialogue(template, put(question), turns)

    [ids] = TextEncoder(tokenizer).prompts([render])
    return Prompt(render(str), ids)


def _dialogue(template: str, question: str, before: Sequence[Turn]) -> str:
    ask = function(template, among=templates, key=KEY)
    text = ""
    for number, (said, answer) in enumerate([*before, (question, "")]):
        turn = ask(said)
        if not isinstance(turn, str):
            raise ConfigError(f"{KEY}={template} gives no text but {type(turn).__name__}.")
        if number:
            turn = turn.removeprefix(templates.GUANACO_SYSTEM)  # which opens a dialogue once
            if template == "guanaco_benchmark":
                turn = f" {turn}"
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
