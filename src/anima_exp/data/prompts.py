"""Build the prompt of a question and the turns before it, as text and as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anima_exp.data.encode import Put, TextEncoder
from anima_exp.data.formats import CHAT, Format, for_answers
from anima_exp.errors import ConfigError, ModelError, first_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KEY = "prompt_template"

Turn = tuple[str, str]  # question, answer


@dataclass(frozen=True)
class Prompt:
    text: str
    ids: list[int]  # begins with BOS if the tokenizer has one


def stops(template: str, given: Sequence[str] | None) -> tuple[str, ...]:
    """Return the texts that end an answer: those given, or by default those of the format."""
    return for_answers(template, key=KEY).stops if given is None else tuple(given)


def has_turns(template: str) -> bool:
    """Return whether a prompt of this format can contain earlier turns."""
    return for_answers(template, key=KEY).has_turns


def check(template: str, *, key: str = KEY) -> None:
    """Raise ConfigError if there is no such format. `key` is the setting that names it."""
    for_answers(template, key=key)


def prompt(
    template: str, tokenizer: "PreTrainedTokenizerBase", question: str, before: Sequence[Turn] = ()
) -> Prompt:
    """Return the prompt of `question` in the format `template`.

    Args:
        before: earlier turns, which are ignored if the format has no turns.

    Raises:
        ConfigError: if there is no such format.
        ModelError: if `chat` is chosen and the tokenizer has no chat template.
    """
    form = for_answers(template, key=KEY)
    before = before if form.has_turns else ()

    def render(put: Put) -> str:
        turns = [(put(earlier), put(answer)) for earlier, answer in before]
        if form.tokenizers_own:
            return _chat(tokenizer, put(question), turns)
        return _dialogue(form, put(question), turns)

    [ids] = TextEncoder(tokenizer).prompts([render])
    return Prompt(render(str), ids)


def _dialogue(form: Format, question: str, before: Sequence[Turn]) -> str:
    assert form.prompt is not None
    text = ""
    for number, (asking, answer) in enumerate([*before, (question, "")]):
        turn = form.prompt(asking)
        if not isinstance(turn, str):
            raise ConfigError(
                f"{KEY}={form.name} must return text, but returned {type(turn).__name__}."
            )
        if number:
            turn = form.between + turn.removeprefix(form.opening)
        space = "" if turn.endswith((" ", "\n")) or not answer else " "
        text += f"{turn}{space}{answer}"
    return text


def _chat(tokenizer: "PreTrainedTokenizerBase", question: str, before: Sequence[Turn]) -> str:
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"{KEY}={CHAT} needs a chat template, which the tokenizer of {tokenizer.name_or_path} "
            f"does not have. Use the format that the model was trained on: {KEY}=guanaco, "
            "alpaca, ..."
        )
    messages = []
    for earlier, answer in before:
        messages += [
            {"role": "user", "content": earlier},
            {"role": "assistant", "content": answer},
        ]
    messages.append({"role": "user", "content": question})
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # a template is a program, which may raise anything
        raise ModelError(
            f"{KEY}={CHAT} does not work, because the chat template of {tokenizer.name_or_path} "
            f"fails: {first_line(error)} Use the format that the model was trained on: "
            f"{KEY}=guanaco, alpaca, ..., or another tokenizer with model.tokenizer=..."
        ) from error
    return str(text)
