"""Where rows come from and how one becomes a training example."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.setting import LARGEST_SEED, MISSING, setting


class BadRow(StrEnum):
    """What to do with a row that cannot become an example."""

    error = "error"
    skip = "skip"  # and count


@dataclass
class TypicalRows:
    """What rows are like, cut at the file's limits, in tokens of LLaMA's tokenizer: for plans."""

    rows: int = setting(MISSING, "Rows to train on.", unit="rows", above=0)
    mean_tokens: float = setting(MISSING, "Mean length of a row.", unit="tokens", above=0)
    mean_label_tokens: float = setting(
        MISSING, "Mean number of a row's tokens that the loss is taken on.", unit="tokens", above=0
    )


@dataclass
class DataConfig:
    """Where rows come from and how one becomes a training example."""

    name: str = setting(
        MISSING, "Label of the data set, a part of the run's name.", in_name=False, label="data"
    )
    recipe: str = setting(
        MISSING,
        "How a row becomes an example: a name in anima_exp.data.recipes, or a dotted path to your "
        "own function or Format.",
    )
    source: str | None = setting(None, "Hub id of the data set, or sample for the generated tasks.")
    path: str | None = setting(
        None, "A local .json, .jsonl, .ndjson, .csv, .tsv or .parquet file instead of source."
    )
    subset: str | None = setting(None, "The hub's configuration name.")
    data_files: str | None = setting(None, "A file inside the hub repository.")
    split: str = setting("train", "The split to read.")
    revision: str | None = setting(None, "Commit, branch or tag of the hub repository.")
    rows: int | None = setting(
        None, "Read only the first rows; for sample also how many are made.", unit="rows", above=0
    )
    max_prompt_tokens: int = setting(
        MISSING,
        "Longest prompt, BOS included; a longer one keeps its start.",
        unit="tokens",
        above=0,
    )
    max_response_tokens: int = setting(
        MISSING,
        "Longest response, EOS included; a longer one keeps its start.",
        unit="tokens",
        above=0,
    )
    train_on_source: bool = setting(False, "Take the loss on the prompt too.")
    eos_when_truncated: bool = setting(False, "End a response with EOS even if it was cut short.")
    heldout_rows: int = setting(
        1024, "Rows set aside for evaluation; 0 sets none aside.", unit="rows", at_least=0
    )
    heldout_split: str | None = setting(None, "Take the held-out rows from this split.")
    heldout_path: str | None = setting(None, "Take the held-out rows from this file.")
    heldout_seed: int = setting(
        42,
        "Which rows are held out: the same for every run seed, so that runs compare.",
        at_least=0,
        at_most=LARGEST_SEED,
    )
    max_train_samples: int | None = setting(
        None,
        "Train on at most this many rows, chosen after the split; smaller sets are parts of larger "
        "ones.",
        unit="rows",
        above=0,
    )
    on_bad_row: BadRow = setting(
        BadRow.error, "What to do with a row that cannot become an example.", in_name=False
    )
    prompt_template: str = setting(
        MISSING,
        "How a bare question is put to the model: a name in anima_exp.data.templates, or a dotted "
        "path to your own function or Format.",
    )
    sample_prompts: list[str] = setting(list, "Questions that evals.samples asks.", in_name=False)
    exact_answers: bool = setting(
        False, "Whether each row has one right answer, which evals.exact_match needs."
    )
    steps: int | None = setting(
        None,
        "Recommended optimizer steps; trainer.steps takes it.",
        unit="steps",
        above=0,
        in_name=False,
    )
    eval_every: int | None = setting(
        None,
        "Recommended interval; trainer.eval_every takes it.",
        unit="steps",
        above=0,
        in_name=False,
    )
    typical: TypicalRows | None = setting(
        None,
        "What rows are like, for plans; null assumes rows as long as the limits.",
        in_name=False,
    )
