"""Define the settings of a data set: where its rows come from, and how one becomes an example."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from anima_exp.config.setting import LARGEST_SEED, MISSING, setting

GENERATED = ("sample", "sample_chat")  # values of data.source whose rows the tiny world generates


class BadRow(StrEnum):
    """The treatment of a row that cannot become an example."""

    error = "error"  # stop before training
    skip = "skip"  # leave the row out and count it


class TrainOn(StrEnum):
    """The messages of a conversation that enter the loss."""

    assistant = "assistant"  # every answer whose message does not say train=false
    last = "last"  # the last of these answers
    all = "all"  # every token, questions and template included
    message = "message"  # as assistant, but a flag on another message is an error


class Thinking(StrEnum):
    """The treatment of an assistant's thinking."""

    template = "template"  # as the template shows it, in its default mode
    keep = "keep"  # each answer in the mode in which it was written
    drop = "drop"  # no thinking


class TooLong(StrEnum):
    """The treatment of a conversation that is longer than data.max_tokens."""

    cut_end = "cut_end"  # leave out its last turns
    drop_oldest = "drop_oldest"  # leave out its first turns, after the system prompt
    split = "split"  # type: ignore[assignment]  # divide it into several, each with the system prompt
    drop_row = "drop_row"  # leave out the conversation


class SpecialTokensInText(StrEnum):
    """The treatment of a control token that is written in a message's text."""

    text = "text"  # encode it as text
    error = "error"  # the row is bad


class MixBy(StrEnum):
    """What the weights of a mixture's parts divide."""

    rows = "rows"
    tokens = "tokens"


class MixSize(StrEnum):
    """The part of a mixture that an epoch uses exactly once."""

    largest = "largest"  # relative to its weight: the other parts are repeated
    smallest = "smallest"  # relative to its weight: the other parts are cut


@dataclass
class LengthStatsConfig:
    """How long the rows of a data set are, for `plan`: nothing is trained by it.

    Counted in tokens of LLaMA's tokenizer, after truncation to the limits of the data set's file.
    """

    rows: int = setting(MISSING, "Number of training rows.", unit="rows", above=0)
    mean_tokens: float = setting(
        MISSING, "Mean length of a row, prompt and response.", unit="tokens", above=0
    )
    mean_label_tokens: float = setting(
        MISSING, "Mean number of tokens per row that enter the loss.", unit="tokens", above=0
    )


@dataclass
class RecommendedLength:
    """How long to train on a data set by default; `trainer` takes these by interpolation."""

    max_steps: int | None = setting(
        None,
        "Optimizer steps; the default of trainer.max_steps.",
        unit="steps",
        above=0,
        formerly=("data.steps",),
    )
    eval_every: int | None = setting(
        None,
        "Steps between evaluations; the default of trainer.eval_every.",
        unit="steps",
        above=0,
        formerly=("data.eval_every",),
    )


@dataclass
class DataConfig:
    """The source of the rows, and the steps from a row to a training example."""

    name: str = setting(
        MISSING,
        "Label of the data set; the run's name contains it, results do not depend on it.",
        in_name=False,
        label="data",
    )
    recipe: str = setting(
        MISSING,
        "Function that turns a row into an example: a name in anima_exp.data.recipes, or a dotted "
        "path to your own function or Format.",
    )
    source: str | None = setting(
        None,
        "Id of a data set on the Hugging Face hub; sample or sample_chat for the built-in tasks or "
        "conversations.",
    )
    path: str | None = setting(
        None,
        "Local .json, .jsonl, .ndjson, .csv, .tsv, .parquet or .txt file to read instead of "
        "source.",
    )
    subset: str | None = setting(None, "Configuration of the hub data set; null = its default one.")
    data_files: str | None = setting(
        None, "File inside the hub repository to read; null = all files of the split."
    )
    split: str = setting("train", "Split of the hub data set to train on.")
    revision: str | None = setting(
        None, "Commit, branch or tag of the hub repository; null = its main branch."
    )
    max_rows: int | None = setting(
        None,
        "Read only the first rows of the data; null = all; source=sample and sample_chat generate "
        "as many.",
        unit="rows",
        above=0,
        formerly=("rows",),
    )
    template: str | None = setting(
        None,
        "Chat template of conversations: tokenizer, a name such as chatml or llama3, or a .jinja "
        "file; null = the tokenizer's own, or else one that fits it.",
        since="0.2",
    )
    train_on: TrainOn = setting(
        TrainOn.assistant,
        "Messages of a conversation that enter the loss.",
        since="0.2",
        as_before=TrainOn.assistant.value,
    )
    thinking: Thinking = setting(
        Thinking.template,
        "Treatment of an assistant's thinking in conversations.",
        since="0.2",
        as_before=Thinking.template.value,
    )
    max_tokens: int = setting(
        2048,
        "Longest conversation, with its template, or longest row of text. Other rows have "
        "max_prompt_tokens and max_response_tokens.",
        unit="tokens",
        above=0,
        since="0.2",
        as_before=2048,
    )
    too_long: TooLong = setting(
        TooLong.cut_end,
        "Treatment of a conversation longer than max_tokens. Turns are left out as a whole.",
        since="0.2",
        as_before=TooLong.cut_end.value,
    )
    special_tokens_in_text: SpecialTokensInText = setting(
        SpecialTokensInText.text,
        "Treatment of a control token that is written in the text of a conversation's message.",
        since="0.2",
        as_before=SpecialTokensInText.text.value,
    )
    max_prompt_tokens: int = setting(
        MISSING,
        "Longest prompt, BOS included; the end of a longer one is cut off.",
        unit="tokens",
        above=0,
    )
    max_response_tokens: int = setting(
        MISSING,
        "Longest response, EOS included; the end of a longer one is cut off.",
        unit="tokens",
        above=0,
    )
    train_on_source: bool = setting(
        False, "If true, the loss covers the prompt as well as the response."
    )
    eos_when_truncated: bool = setting(
        False, "If true, a response that was cut off still ends with EOS."
    )
    heldout_rows: int = setting(
        1024, "Rows set aside for evaluation; 0 = none.", unit="rows", at_least=0
    )
    heldout_split: str | None = setting(
        None, "Split to take held-out rows from; null = the training rows."
    )
    heldout_path: str | None = setting(
        None, "Local file to take held-out rows from; null = heldout_split or the training rows."
    )
    heldout_seed: int = setting(
        42,
        "Random seed that chooses the held-out rows; apart from seed, so that runs with different "
        "seeds share them.",
        at_least=0,
        at_most=LARGEST_SEED,
    )
    max_train_rows: int | None = setting(
        None,
        "Train on at most this many rows, chosen after the held-out split; null = all; a smaller "
        "choice is part of a larger one.",
        unit="rows",
        above=0,
        formerly=("max_train_samples",),
    )
    on_bad_row: BadRow = setting(
        BadRow.error, "Stop at a row that cannot become an example, or skip it.", in_name=False
    )
    parts: dict[str, Any] = setting(
        dict,
        "Parts of data=mixture by name, each with path or source, recipe, weight, and other "
        "settings of data; each part has held-out rows and a score.",
        since="0.2",
        as_before={},
    )
    mix_by: MixBy = setting(
        MixBy.rows,
        "Whether the weights of the parts are shares of the rows of an epoch, or of its tokens.",
        since="0.2",
        as_before=MixBy.rows.value,
    )
    mix_size: MixSize | None = setting(
        None,
        "Part that an epoch uses exactly once: smallest cuts the others, largest repeats them; "
        "null = largest, unless mix_total is set.",
        since="0.2",
    )
    mix_total: int | None = setting(
        None,
        "Rows or tokens of an epoch of a mixture, as mix_by says; null = as mix_size says.",
        above=0,
        largest=1_000_000_000_000,
        since="0.2",
    )
    prompt_template: str = setting(
        MISSING,
        "How a question becomes the model's prompt: a name in anima_exp.data.templates, or a "
        "dotted path to your own function or Format.",
    )
    sample_prompts: list[str] = setting(
        list, "Questions that evals.samples puts to the model.", in_name=False
    )
    exact_answers: bool = setting(
        False, "True if each row has exactly one right answer; evals.exact_match needs it."
    )
    answer_pattern: str | None = setting(
        None,
        "Regular expression whose last group is the final answer in a response; the default of "
        "evals.exact_match.answer_pattern.",
        in_name=False,
        since="0.2",
    )
    recommended: RecommendedLength = setting(
        RecommendedLength, "Defaults of trainer for this data set.", in_name=False
    )
    length_stats: LengthStatsConfig | None = setting(
        None,
        "Row lengths for plan; null = assume that rows are as long as the limits.",
        in_name=False,
        formerly=("typical",),
    )
