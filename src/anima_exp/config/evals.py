"""What is measured, each with its own settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omegaconf import MISSING


class ChoiceScore(StrEnum):
    """What of a multiple-choice question is scored."""

    letter = "letter"  # the letters A, B, ...: the likeliest next token of these
    answer = "answer"  # the whole answers: the likeliest text


@dataclass
class HeldoutConfig:
    """Loss per response token on the rows set aside."""

    max_rows: int | None = 1000
    batch_tokens: int = 4096  # in one forward pass; a longer row stands alone


@dataclass
class ExactMatchConfig:
    """Share of greedy answers equal to the reference, on rows set aside (data.exact_answers)."""

    max_rows: int | None = 200
    max_new_tokens: int = 32
    batch_size: int = 64


@dataclass
class SamplesConfig:
    """What the model writes to a few fixed prompts, greedily."""

    prompts: list[str] = MISSING
    max_new_tokens: int = 70


BENCHMARKS = ("choices", "mmlu", "cmmlu", "ceval")  # the fields of EvalsConfig of this kind:


@dataclass
class MultipleChoiceConfig:
    """Share of multiple-choice questions answered right, by subject."""

    source: str = MISSING  # hub id, `tiny_en` or `tiny_zh`
    path: str | None = None  # or a folder with dev/ and val/ or test/ of CSV files, one a subject
    split: str = "val"
    subjects: list[str] = field(default_factory=list)  # empty = all
    max_questions: int | None = None  # of each subject
    shots: int = 5  # worked examples before a question
    prompt: str = MISSING  # how it is asked: a name in anima_exp.evals.choice.prompts
    template: str | None = None  # puts that into a dialogue: a name in anima_exp.data.templates
    score: ChoiceScore = ChoiceScore.letter
    max_prompt_tokens: int = 2048  # BOS included; examples are dropped until a question fits
    batch_tokens: int = 16384  # prompts, examples and padding at once


@dataclass
class AnsweringConfig:
    """How a model is asked: the prompt, and how each next token is chosen."""

    translated: bool = False  # ask each question's `translation`, which is Chinese, not its `text`
    max_questions: int | None = None  # only the first so many
    prompt_template: str | None = None  # null = data.prompt_template; chat = the tokenizer's own
    max_new_tokens: int = 1024
    temperature: float = 0.7  # 0 = greedy: always the most likely token
    top_p: float = 0.9  # draw from the likeliest tokens that make up this share; 1 = from all
    sampling_seed: int = 0  # with the question's id it seeds the draws of that answer
    stop: list[str] | None = None  # texts that end an answer; null = the prompt format's own
    batch_size: int = 8  # answers at once; does not change them (in fp32)


@dataclass
class AnswersConfig(AnsweringConfig):
    """Answers to a list of questions, written once, by the trained model."""

    questions: str = "tiny_zh"  # a file, a URL, or unseen tasks: tiny_zh, tiny_en


@dataclass
class EvalsConfig:
    """What is measured: `answers` once, after training, the others at every evaluation.

    An eval that is null is off.
    """

    heldout: HeldoutConfig | None = None
    exact_match: ExactMatchConfig | None = None
    samples: SamplesConfig | None = None
    answers: AnswersConfig | None = None
    choices: MultipleChoiceConfig | None = None  # of the tiny world
    mmlu: MultipleChoiceConfig | None = None
    cmmlu: MultipleChoiceConfig | None = None
    ceval: MultipleChoiceConfig | None = None
    # Of your own, by name: settings of MultipleChoiceConfig. source may be a dotted path.
    benchmarks: dict[str, Any] = field(default_factory=dict)
    # Of your own, by name: a dotted path to a function, or `function` and its options.
    custom: dict[str, Any] = field(default_factory=dict)


FUNCTION = "function"  # the key in evals.custom.NAME that names the function; others are options


def benchmark_key(name: str) -> str:
    """The group of settings of a benchmark: evals.mmlu, evals.benchmarks.my_law."""
    return f"evals.{name}" if name in BENCHMARKS else f"evals.benchmarks.{name}"


def benchmarks_of(evals: EvalsConfig) -> Mapping[str, MultipleChoiceConfig]:
    """The benchmarks that are on, by name."""
    ours = {name: getattr(evals, name) for name in BENCHMARKS}
    return {name: one for name, one in {**ours, **evals.benchmarks}.items() if one is not None}
