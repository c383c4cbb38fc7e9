"""Define the settings of every evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from anima_exp.config.setting import LARGEST_SEED, MISSING, setting


class ChoiceScore(StrEnum):
    """How the model's choice in a multiple-choice question is read."""

    letter = "letter"  # the likeliest next token among A, B, ...
    answer = "answer"  # the likeliest answer text


@dataclass
class HeldoutConfig:
    """Loss per response token on the held-out rows."""

    max_rows: int | None = setting(
        1000, "Evaluate at most this many rows; null = all.", unit="rows", above=0
    )
    batch_tokens: int = setting(
        4096,
        "Most tokens in one forward pass; a longer row gets a pass of its own.",
        unit="tokens",
        above=0,
        in_name=False,
    )


@dataclass
class ExactMatchConfig:
    """Fraction of greedy answers equal to the reference, on held-out rows (data.exact_answers)."""

    max_rows: int | None = setting(
        200, "Evaluate at most this many rows; null = all.", unit="rows", above=0
    )
    max_new_tokens: int = setting(
        32, "Longest answer; generation stops there.", unit="tokens", above=0
    )
    batch_size: int = setting(
        64, "Answers generated at the same time.", unit="answers", above=0, in_name=False
    )
    answer_pattern: str | None = setting(
        None,
        "Regular expression for the final answer: only the last group of its last match is "
        "compared; null = the whole text.",
        since="0.2",
    )


@dataclass
class ForgettingConfig:
    """Loss on neutral text, which no training row is about, before and after training."""

    source: str | None = setting(
        None,
        "Hub id of the text, or tiny for the tiny base's own tasks; null = tiny with model=tiny, "
        "WikiText-2 with any other base.",
    )
    subset: str | None = setting(
        None, "Configuration of the hub data set; null = its only one. WikiText-2 has its own."
    )
    split: str = setting("test", "Split of the hub data set.")
    path: str | None = setting(
        None, "Local file of text (txt, json, jsonl, csv, parquet); null = source."
    )
    column: str = setting("text", "Column that holds the text.")
    max_tokens: int = setting(
        65_536, "Read the text up to this many tokens.", unit="tokens", above=0
    )
    row_tokens: int = setting(
        512, "Cut the text into rows of this many tokens, BOS included.", unit="tokens", above=1
    )
    batch_tokens: int = setting(
        4096,
        "Most tokens in one forward pass; a longer row gets a pass of its own.",
        unit="tokens",
        above=0,
        in_name=False,
    )


@dataclass
class SamplesConfig:
    """Greedy answers of the model to a few fixed prompts, to read."""

    prompts: list[str] = setting(MISSING, "Questions that are put to the model.")
    max_new_tokens: int = setting(
        70, "Longest answer; generation stops there.", unit="tokens", above=0
    )


BENCHMARKS = ("choices", "mmlu", "cmmlu", "ceval")  # the fields of EvalsConfig of this kind:

# The scores of the first answers of conversations. Later answers count in exact_match alone.
EXACT_MATCH_TURNS = tuple(f"exact_match_turn_{turn}" for turn in (1, 2, 3))

# Names that a row of metrics.jsonl or a table of scores of every run may hold.
TAKEN = (
    *("step", "loss", "heldout_loss", "exact_match", "answers_match", "eval_seconds", "tokens"),
    *("neutral_loss", "forgetting"),
    *("grad_norm", "learning_rate", "tokens_per_second", "memory_gib", "seconds", "epoch"),
    *BENCHMARKS,
    *(f"{name}_micro" for name in BENCHMARKS),
    *EXACT_MATCH_TURNS,
)


@dataclass
class MultipleChoiceConfig:
    """Fraction of multiple-choice questions answered correctly, by subject."""

    source: str = setting(
        MISSING,
        "Hub id, tiny_en or tiny_zh for the built-in tasks, or a dotted path to a Benchmark.",
    )
    path: str | None = setting(
        None,
        "Local folder with dev/ and val/ or test/ of CSV files, one per subject; null = source.",
    )
    split: str = setting("val", "Split that the questions come from.")
    subjects: list[str] = setting(list, "Subjects to evaluate; an empty list = all.")
    max_questions: int | None = setting(
        None, "Most questions per subject; null = all.", unit="questions", above=0
    )
    shots: int = setting(
        5, "Worked examples in front of each question.", unit="examples", at_least=0
    )
    prompt: str = setting(
        MISSING,
        "How a question is written: a name in evals.multiple_choice.prompts, or a dotted path.",
    )
    template: str | None = setting(
        None,
        "Format that wraps the question, a name or a dotted path; null = the bare question.",
    )
    score: ChoiceScore = setting(
        ChoiceScore.letter, "Compare the likelihoods of letters, or of whole answers."
    )
    max_prompt_tokens: int = setting(
        2048,
        "Longest prompt, BOS included; worked examples are left out until it fits.",
        unit="tokens",
        above=0,
    )
    batch_tokens: int = setting(
        16384,
        "Most tokens in one forward pass, padding included.",
        unit="tokens",
        above=0,
        in_name=False,
    )


@dataclass
class AnsweringConfig:
    """How a model answers questions: the prompt, and how each next token is chosen."""

    translated: bool = setting(
        False, "If true, use each question's Chinese translation instead of its text."
    )
    max_questions: int | None = setting(
        None, "Answer only the first questions; null = all.", unit="questions", above=0
    )
    prompt_template: str | None = setting(
        None,
        "How a question becomes a prompt; null = data.prompt_template, chat = the tokenizer's chat "
        "template.",
    )
    max_new_tokens: int = setting(
        1024, "Longest answer; generation stops there.", unit="tokens", above=0
    )
    temperature: float = setting(
        0.7, "Sampling temperature; 0 = always the likeliest token.", at_least=0
    )
    top_p: float = setting(
        0.9,
        "Sample among the likeliest tokens with this total probability; 1 = among all.",
        above=0,
        at_most=1,
    )
    sampling_seed: int = setting(
        0,
        "Random seed of sampling; each question has its own stream.",
        at_least=0,
        at_most=LARGEST_SEED,
    )
    stop: list[str] | None = setting(
        None, "Texts that end an answer; null = those of the prompt template."
    )
    batch_size: int = setting(
        8,
        "Answers generated at the same time; in fp32 answers do not depend on it.",
        unit="answers",
        above=0,
        in_name=False,
    )


@dataclass
class AnswersConfig(AnsweringConfig):
    """Answers to a list of questions, written to a file after training, for a judge."""

    questions: str = setting(
        "tiny_zh", "File or URL of questions, or tiny_zh or tiny_en for unseen built-in tasks."
    )


@dataclass
class EvalsConfig:
    """The evaluations of a run: `answers` once, after training; the others at every evaluation.

    An evaluation that is null is off.
    """

    heldout: HeldoutConfig | None = setting(None, "Loss on the held-out rows.")
    exact_match: ExactMatchConfig | None = setting(
        None, "Fraction of greedy answers equal to the reference."
    )
    samples: SamplesConfig | None = setting(None, "Answers to a few fixed prompts, to read.")
    forgetting: ForgettingConfig | None = setting(
        None, "Loss on neutral text, and its rise since before training.", since="0.2"
    )
    answers: AnswersConfig | None = setting(
        None, "Answers to a list of questions, written after training, for a judge."
    )
    choices: MultipleChoiceConfig | None = setting(
        None, "Multiple-choice questions from the built-in tasks."
    )
    mmlu: MultipleChoiceConfig | None = setting(None, "MMLU: 57 subjects, in English.")
    cmmlu: MultipleChoiceConfig | None = setting(None, "CMMLU: 67 subjects, in Chinese.")
    ceval: MultipleChoiceConfig | None = setting(None, "C-Eval: 52 subjects, in Chinese.")
    benchmarks: dict[str, Any] = setting(
        dict,
        "Your own multiple-choice benchmarks by name, each with the settings of evals.mmlu.",
        since="0.2",
        as_before={},
    )
    custom: dict[str, Any] = setting(
        dict,
        "Your own evaluations by name: a dotted path, or `function` with its options.",
        since="0.2",
        as_before={},
    )


FUNCTION = "function"  # the key in evals.custom.NAME that names the function; others are options


def benchmark_key(name: str) -> str:
    """Return the group of settings of a benchmark: evals.mmlu, evals.benchmarks.my_law."""
    return f"evals.{name}" if name in BENCHMARKS else f"evals.benchmarks.{name}"


def benchmarks_of(evals: EvalsConfig) -> Mapping[str, MultipleChoiceConfig]:
    """Return the benchmarks that are on, by name."""
    ours = {name: getattr(evals, name) for name in BENCHMARKS}
    return {name: one for name, one in {**ours, **evals.benchmarks}.items() if one is not None}
