"""What is measured, each with its own settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from anima_exp.config.setting import LARGEST_SEED, MISSING, setting


class ChoiceScore(StrEnum):
    """What of a multiple-choice question is scored."""

    letter = "letter"  # the letters A, B, ...: the likeliest next token of these
    answer = "answer"  # the whole answers: the likeliest text


@dataclass
class HeldoutConfig:
    """Loss per response token on the rows set aside."""

    max_rows: int | None = setting(1000, "Measure at most this many rows.", unit="rows", above=0)
    batch_tokens: int = setting(
        4096,
        "Tokens of one forward pass; a longer row is a pass of its own.",
        unit="tokens",
        above=0,
        in_name=False,
    )


@dataclass
class ExactMatchConfig:
    """Share of greedy answers equal to the reference, on rows set aside (data.exact_answers)."""

    max_rows: int | None = setting(200, "Answer at most this many rows.", unit="rows", above=0)
    max_new_tokens: int = setting(32, "Longest answer.", unit="tokens", above=0)
    batch_size: int = setting(64, "Answers at once.", above=0, in_name=False)


@dataclass
class SamplesConfig:
    """What the model writes to a few fixed prompts, greedily."""

    prompts: list[str] = setting(MISSING, "The questions.")
    max_new_tokens: int = setting(70, "Longest answer.", unit="tokens", above=0)


BENCHMARKS = ("choices", "mmlu", "cmmlu", "ceval")  # the fields of EvalsConfig of this kind:

# Names that a row of metrics.jsonl or a table of scores of every run may hold.
TAKEN = (
    *("step", "loss", "heldout_loss", "exact_match", "answers_match", "eval_seconds", "tokens"),
    *("grad_norm", "learning_rate", "tokens_per_second", "memory_gib", "seconds", "epoch"),
    *BENCHMARKS,
    *(f"{name}_micro" for name in BENCHMARKS),
)


@dataclass
class MultipleChoiceConfig:
    """Share of multiple-choice questions answered right, by subject."""

    source: str = setting(
        MISSING,
        "Hub id, tiny_en or tiny_zh for the generated tasks, or a dotted path to a Benchmark.",
    )
    path: str | None = setting(
        None, "A folder with dev/ and val/ or test/ of CSV files, one a subject, instead of source."
    )
    split: str = setting("val", "The split whose questions are asked.")
    subjects: list[str] = setting(list, "The subjects; an empty list means all.")
    max_questions: int | None = setting(
        None, "Ask at most this many questions of each subject.", unit="questions", above=0
    )
    shots: int = setting(5, "Worked examples before a question.", unit="examples", at_least=0)
    prompt: str = setting(
        MISSING, "How a question is asked: a name in evals.choice.prompts, or a dotted path."
    )
    template: str | None = setting(
        None, "The format whose prompt the question is put in, or a dotted path."
    )
    score: ChoiceScore = setting(ChoiceScore.letter, "What of a question is scored.")
    max_prompt_tokens: int = setting(
        2048,
        "Longest prompt, BOS included; examples are dropped until a question fits.",
        unit="tokens",
        above=0,
    )
    batch_tokens: int = setting(
        16384,
        "Tokens of one forward pass, padding included.",
        unit="tokens",
        above=0,
        in_name=False,
    )


@dataclass
class AnsweringConfig:
    """How a model is asked: the prompt, and how each next token is chosen."""

    translated: bool = setting(False, "Ask each question's Chinese translation, not its text.")
    max_questions: int | None = setting(
        None, "Ask only the first questions.", unit="questions", above=0
    )
    prompt_template: str | None = setting(
        None, "null = data.prompt_template; chat = the tokenizer's own chat template."
    )
    max_new_tokens: int = setting(1024, "Longest answer.", unit="tokens", above=0)
    temperature: float = setting(
        0.7, "Sampling temperature; 0 always takes the most likely token.", at_least=0
    )
    top_p: float = setting(
        0.9,
        "Sample from the likeliest tokens that make up this share; 1 samples from all.",
        above=0,
        at_most=1,
    )
    sampling_seed: int = setting(
        0,
        "Seeds the draws of each answer, with the question's id.",
        at_least=0,
        at_most=LARGEST_SEED,
    )
    stop: list[str] | None = setting(
        None, "Texts that end an answer; null = the prompt format's own."
    )
    batch_size: int = setting(
        8, "Answers at once; in fp32 they do not depend on it.", above=0, in_name=False
    )


@dataclass
class AnswersConfig(AnsweringConfig):
    """Answers to a list of questions, written once, by the trained model."""

    questions: str = setting(
        "tiny_zh", "A file, a URL, or tiny_zh or tiny_en for unseen generated tasks."
    )


@dataclass
class EvalsConfig:
    """What is measured: `answers` once, after training, the others at every evaluation.

    An eval that is null is off.
    """

    heldout: HeldoutConfig | None = setting(None, "Loss on the rows set aside.")
    exact_match: ExactMatchConfig | None = setting(
        None, "Share of greedy answers equal to the reference."
    )
    samples: SamplesConfig | None = setting(None, "What the model writes to a few prompts.")
    answers: AnswersConfig | None = setting(
        None, "Answers to a list of questions, after training, for a judge."
    )
    choices: MultipleChoiceConfig | None = setting(
        None, "Multiple-choice questions of the generated tasks."
    )
    mmlu: MultipleChoiceConfig | None = setting(None, "MMLU.")
    cmmlu: MultipleChoiceConfig | None = setting(None, "CMMLU, in Chinese.")
    ceval: MultipleChoiceConfig | None = setting(None, "C-Eval, in Chinese.")
    benchmarks: dict[str, Any] = setting(
        dict,
        "Multiple-choice benchmarks of your own, by name, with the settings of mmlu.",
        since="0.2",
        as_before={},
    )
    custom: dict[str, Any] = setting(
        dict,
        "Evaluations of your own, by name: a dotted path, or `function` and its options.",
        since="0.2",
        as_before={},
    )


FUNCTION = "function"  # the key in evals.custom.NAME that names the function; others are options


def benchmark_key(name: str) -> str:
    """The group of settings of a benchmark: evals.mmlu, evals.benchmarks.my_law."""
    return f"evals.{name}" if name in BENCHMARKS else f"evals.benchmarks.{name}"


def benchmarks_of(evals: EvalsConfig) -> Mapping[str, MultipleChoiceConfig]:
    """The benchmarks that are on, by name."""
    ours = {name: getattr(evals, name) for name in BENCHMARKS}
    return {name: one for name, one in {**ours, **evals.benchmarks}.items() if one is not None}
