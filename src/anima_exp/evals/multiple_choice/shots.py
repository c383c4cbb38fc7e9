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
    """One question as token ids."""

    subject: str
    text: str
    ids: np.ndarray  # int32 [T], BOS included
    options: tuple[np.ndarray, ...]  # int32 [L] each: the scored continuation for each choice
    answer: int  # the number of the right option
    shots: int  # worked examples in the prompt


def fit_shots(
    benchmark: Benchmark, config: MultipleChoiceConfig, tokenizer: "PreTrainedTokenizerBase"
) -> list[EncodedQuestion]:
    """Encode every question with as many of its first worked examples as fit.

    This is QLoRA's rule. Truncating the prompt instead would lose the question, which comes last.

    Raises:
        DataError: if a question without examples is longer than `max_prompt_tokens`.
        ModelError: if the tokenizer does not give the letters different tokens.
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
            subject, question = pairs[number]
            following = options(question)
            # The last token of an option is predicted, not read.
            length = len(ids) + max(map(len, following)) - 1
            if length <= config.max_prompt_tokens:
                array = np.asarray(ids, dtype=np.int32)
                done[number] = EncodedQuestion(
                    subject.name, text, array, following, question.answer, shots[number]
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
    """Return the prompt style: a name in prompts.py, or a dotted path to a Style or its function.

    Raises:
        ConfigError: if there is no such prompt.
    """
    named = own(name, key=key) if "." in name else function(name, among=prompts, key=key)
    style = named() if callable(named) else named
    if not isinstance(style, Style):
        raise ConfigError(
            f"{key}={name} is neither a Style nor a function that returns one, but "
            f"{type(style).__name__}. See anima_exp.evals.multiple_choice.prompts."
        )
    return style


def _text(style: Style, subject: Subject, question: Question, shots: int) -> str:
    examples = "".join(style.answered(example) for example in subject.examples[:shots])
    return f"{style.header(subject)}{examples}{style.ask(question)}"


def _encode(
    encoder: TextEncoder, texts: list[str], wrap: Callable[[str], str] | None
) -> list[list[int]]:
    """Return the ids of each prompt, BOS first."""
    if wrap is None:
        return [encoder.begin + ids for ids in encoder.encode(texts)]
    return encoder.prompts(lambda put, text=text: wrap(put(text)) for text in texts)  # type: ignore[misc]


def _options(
    encoder: TextEncoder, style: Style, score: ChoiceScore, *, in_dialogue: bool
) -> Callable[[Question], tuple[np.ndarray, ...]]:
    """Return a function that returns the scored token ids of a question: letters or answers.

    In a dialogue an answer is tokenized separately, as in training. Otherwise it is tokenized as in
    the worked examples.
    """
    cue, space = ("", "") if in_dialogue else (style.cue, style.before_answer)

    def encode(text: str) -> list[int]:
        return encoder.encode([text])[0]

    def following(text: str, space: str = space) -> np.ndarray:
        before, joined = encode(cue) if cue else [], encode(cue + space + text)
        # If the tokenizer merges cue and answer into one token, the answer is scored alone.
        separable = joined[: len(before)] == before and len(joined) > len(before)
        ids = joined[len(before) :] if separable else encode(text)
        return np.asarray(ids, dtype=np.int32)

    if score is ChoiceScore.answer:
        return lambda question: tuple(map(following, question.choices))
    for opening in (space, ""):  # without the space, if it is a separate token
        letters = [following(letter, opening)[:1] for letter in LETTERS]
        if len({int(one[0]) for one in letters[:4]}) == 4:
            return lambda question: tuple(letters[: len(question.choices)])
    raise ModelError(
        "The tokenizer does not give the letters A to D different tokens, so letters cannot be "
        "scored. Use score=answer to score whole answers."
    )
