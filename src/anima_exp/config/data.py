"""Where rows come from and how one becomes a training example."""

from dataclasses import dataclass, field
from enum import StrEnum

from omegaconf import MISSING


class BadRow(StrEnum):
    """What to do with a row that cannot become an example."""

    error = "error"
    skip = "skip"  # and count


@dataclass
class TypicalRows:
    """What rows are like, cut at the file's limits, in tokens of LLaMA's tokenizer: for plans."""

    rows: int = MISSING  # to learn from
    mean_tokens: float = MISSING  # of one of them
    mean_label_tokens: float = MISSING  # of these, tokens that the loss is taken on


@dataclass
class DataConfig:
    """Where rows come from and how one becomes a training example."""

    name: str = MISSING
    recipe: str = MISSING  # a function in anima_exp.data.recipes, or a dotted path of your own
    source: str | None = None  # hub id, or `sample` for the generated world
    path: str | None = None  # a local .json, .jsonl, .ndjson, .csv, .tsv or .parquet file
    subset: str | None = None  # the hub's configuration name
    data_files: str | None = None  # a file inside the hub repository
    split: str = "train"
    revision: str | None = None
    rows: int | None = None  # read only the first rows (and how many `sample` generates)
    max_prompt_tokens: int = MISSING  # BOS included; the start is kept
    max_response_tokens: int = MISSING  # EOS included; the start is kept
    train_on_source: bool = False  # take the loss on the prompt too
    eos_when_truncated: bool = False  # end a response with EOS even where it was cut short
    heldout_rows: int = 1024  # set aside for evaluation; 0 = none
    heldout_split: str | None = None  # take them from this split instead of from `split`
    heldout_path: str | None = None  # or from this file
    heldout_seed: int = 42  # which rows: the same for every run seed, so that runs compare
    max_train_samples: int | None = None  # after the split; smaller sets nest in larger ones
    on_bad_row: BadRow = BadRow.error
    prompt_template: str = MISSING  # how a bare question is put: a name in anima_exp.data.templates
    sample_prompts: list[str] = field(default_factory=list)  # questions that evals.samples asks
    exact_answers: bool = False  # one right answer a row, so that evals.exact_match has a meaning
    steps: int | None = None  # recommended optimizer steps; trainer.steps takes it
    eval_every: int | None = None  # recommended; trainer.eval_every takes it
    typical: TypicalRows | None = None  # null = the planner assumes rows as long as the limits
