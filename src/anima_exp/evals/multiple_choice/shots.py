"""Encode questions as prompts, with as many worked examples as fit into the context."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anima_exp.config import ChoiceScore, MultipleChoiceConfig
from anima_exp.config.lookup import function, own
from anima_exp.data import formats
from anima_exp.data.encode import TextEncoder
from anima_exp.errors import ConfigError, DataError, ModelError
from anima_exp.evals.multiple_choice import prompts
from anima_exp.evals.multiple_choice.benchmark import LETTERS, Benchmark, Question, Subject
from anima_exp.evals.multiple_choice.prompts import Style

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class EncodedQuestion:
    """One question as the model will see it."""

    subject: str
    text: str
    ids: np.ndarray  # int32 [T]: the text, BOS included
    options: tuple[np.ndarray, ...]  # int32 [L]: what may follow, one for each choice
    answer: int  # which of the options is right
    shots: int  # worked examples that had room


def fit_shots(
    benchmark: Benchmark, config: MultipleChoiceConfig, tokenizer: "PreTrainedTokenizerBase"
) -> list[EncodedQuestion]:
    """Every question with its examples; the last examples are dropped until all fits.

    That is QLoRA's rule. Cutting the prompt instead would lose the question, which comes last.

    Raises:
        DataError: a question alone is longer than `max_prompt_tokens`.
        ModelError: the tokenizer does not tell the letters apart.
    """
    key = benchmark.key
    style = style_of(config.prompt, key=f"{key}.prompt")
    wrap = config.template and formats.template(config.template, key=f"{key}.template")
    encoder = TextEncoder(tokenizer)
    options = _options(encoder, style, config.score, in_dialogue=bool(wrap))

    pairs = [(subject, one) for subject in benchmark.subjects for one in subject.questions]
    shots = [config.shots] * len(pairs)
    done: dict[int, EncodedQuestion] = {}
    while waiting := [number for number in range(len(pairs)) if number not in done]:
        texts = [_text(style, *pairs[number], shots[number]) for number in waiting]
        encoded = _encode(encoder, texts, wrap or None)
        texts = [wrap(text) for text in texts] if wrap else texts
        for number, text, ids in zip(waiting, texts, encoded, strict=True):
            subject, asked = pairs[number]
            following = options(asked)
            # A letter takes the place after the prompt; a whole answer must have room as well.
            length = len(ids) + max(map(len, following)) - 1
            if length <= config.max_prompt_tokens:
                whole = np.asarray(ids, dtype=np.int32)
                done[number] = EncodedQuestion(
                    subject.name, text, whole, following, asked.answer, shots[number]
                )
            elif shots[number] == 0:
                raise DataError(
                    f"{key}: a question of {subject.name} has {length} tokens even without an "
                    f"example. Raise {key}.max_prompt_tokens={config.max_prompt_tokens}."
                )
            else:
                shots[number] -= 1
    return [done[number] for number in range(len(pairs))]


def style_of(name: str, *, key: str) -> Style:
    """How a benchmark asks: a name in prompts.py, or a dotted path to a Style or its function.

    Raises:
        ConfigError: there is no such prompt.
    """
    found = own(name, key=key) if "." in name else function(name, among=prompts, key=key)
    style = found() if callable(found) else found
    if not isinstance(style, Style):
        raise ConfigError(
            f"{key}={name} is neither a Style nor a function that returns one, but "
            f"{type(style).__name__}. See anima_exp.evals.multiple_choice.prompts."
        )
    return style


def _text(style: Style, subject: Subject, asked: Question, shots: int) -> str:
    examples = "".join(style.answered(example) for example in subject.examples[:shots])
    return f"{style.header(subject)}{examples}{style.ask(asked)}"


def _encode(
    encoder: TextEncoder, texts: list[str], wrap: Callable[[str], str] | None
) -> list[list[int]]:
    """The ids of each prompt, BOS first."""
    if wrap is None:
        return [encoder.begin + ids for ids in encoder.encode(texts)]
    return encoder.prompts(lambda put, text=text: wrap(put(text)) for text in texts)  # type: ignore[misc]


def _options(
    encoder: TextEncoder, style: Style, score: ChoiceScore, *, in_dialogue: bool
) -> Callable[[Question], tuple[np.ndarray, ...]]:
    """A question -> the token ids of what is scored: a letter each, or the whole answers.

    In a dialogue an answer is tokenised apart, as in training; else as it stands in the examples.
    """
    cue, space = ("", "") if in_dialogue else (style.cue, style.before_answer)

    def encode(text: str) -> list[int]:
        return encoder.encode([text])[0]

    def following(text: str, space: str = space) -> np.ndarray:
        before, whole = encode(cue) if cue else [], encode(cue + space + text)
        # Where a tokenizer joins cue and answer into one token, there is nothing else to score.
        apart = whole[: len(before)] == before and len(whole) > len(before)
        ids = whole[len(before) :] if apart else encode(text)
        return np.asarray(ids, dtype=np.int32)

    if score is ChoiceScore.answer:
        return lambda asked: tuple(map(following, asked.choices))
    for opening in (space, ""):  # where the space is a token of its own, the letter behind it
        letters = [following(letter, opening)[:1] for letter in LETTERS]
        if len({int(one[0]) for one in letters[:4]}) == 4:
            return lambda asked: tuple(letters[: len(asked.choices)])
    raise ModelError(
        "The tokenizer does not give the letters A to D different tokens, so letters cannot be "
        "scored. Use score=answer to score whole answers."
    )
