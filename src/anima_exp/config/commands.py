"""Define the settings of the commands other than train: data, and evaluate to publish."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.evals import AnsweringConfig
from anima_exp.config.model import Precision
from anima_exp.config.run import RunConfig
from anima_exp.config.setting import setting


@dataclass
class InspectDataConfig(RunConfig):
    """Every setting of `anima-exp data`."""

    html: str | None = setting(
        None, "Write the report to this file as one self-contained page with histograms."
    )
    show_rows: int = setting(
        4, "Show at most this many rows as they are trained on.", unit="rows", at_least=0
    )
    show_row: int | None = setting(
        None, "Show this row of the file, counted from 1; null = rows of each kind.", at_least=1
    )


@dataclass
class UseConfig(RunConfig):
    """A model to use: of a finished run, an adapter on a base, or a bare base."""

    run: str | None = setting(
        None, "Folder of a finished run, which gives its model, data and adapter."
    )
    adapter: str | None = setting(
        None, "Folder or hub id of an adapter; its base comes from the adapter, or from model=."
    )


@dataclass
class EvaluateConfig(UseConfig):
    """A model to use, what to evaluate (`evals`), and what to show."""

    subjects: bool = setting(
        False, "If true, show one line per subject; otherwise categories only."
    )
    export_prompts: str | None = setting(
        None,
        "Folder to write the benchmarks' prompts to, without evaluating; null = evaluate.",
        formerly=("prompts",),
    )


# generate


@dataclass
class GenerateConfig(AnsweringConfig, UseConfig):
    """Every setting of `anima-exp generate`."""

    prompt: str | None = setting(None, "One question, answered on the terminal.")
    questions: str | None = setting(
        None,
        "File or URL of questions, or tiny_zh or tiny_en; null without prompt starts a chat.",
    )
    out: str | None = setting(None, "File to write answers to; null = answers/MODEL.jsonl.")
    messages: str | None = setting(
        None,
        "JSON file with the messages of one conversation, whose next answer is shown.",
        since="0.2",
    )
    system: str | None = setting(
        None,
        "System prompt of conversations that have none of their own; for prompt_template=chat.",
        since="0.2",
    )
    tools: str | None = setting(
        None,
        "JSON file with the tools that the model is shown, unless a conversation has its own; for "
        "prompt_template=chat.",
        since="0.2",
    )
    thinking: bool | None = setting(
        None,
        "Ask the chat template for answers with or without thinking; null = as in training, or "
        "the template's default.",
        since="0.2",
    )
    show_thinking: bool = setting(
        True,
        "If false, the terminal shows how long an answer's thinking is, but not its text.",
        since="0.2",
    )
    extra_adapters: list[str] = setting(
        list,
        "More run folders or adapters of the same base, which answer as well.",
        formerly=("beside",),
    )
    include_base: bool = setting(
        False,
        "If true, the base model answers as well, with prompt or in a chat.",
        formerly=("compare",),
    )


# merge


class MergeTarget(StrEnum):
    """Which weights of the base the adapter is added to."""

    base = "base"  # its 16-bit weights: the better model if NF4 cost the base something
    dequantized = "dequantized"  # the 4-bit weights it was trained on, back in 16 bits


@dataclass
class MergeConfig(UseConfig):
    """Every setting of `anima-exp merge`."""

    out: str | None = setting(None, "Folder to create for the merged model.")
    target: MergeTarget = setting(
        MergeTarget.base,
        "Add the adapter to the base's 16-bit weights, or to the dequantized 4-bit weights.",
        formerly=("onto",),
    )
    dtype: Precision | None = setting(
        None,
        "Number type of the merged weights; null = the base's own if it has 16 bits, or else bf16.",
    )
    max_shard_gib: float = setting(
        4.0,
        "Largest weight file; merging holds one of them in memory.",
        unit="GiB",
        above=0,
        formerly=("shard_gib",),
    )
    verify: bool = setting(
        True,
        "If true, compare the merged model with the trained one before it is moved to out.",
        formerly=("prove",),
    )
    verify_rows: int = setting(
        256,
        "Verify on at most this many held-out rows.",
        unit="rows",
        above=0,
        formerly=("proof_rows",),
    )
    verify_tokens: int = setting(
        2048,
        "Verify on at most this many response tokens; each needs disk space of 4 bytes per word of "
        "the vocabulary.",
        unit="tokens",
        above=0,
        formerly=("proof_tokens",),
    )
    max_divergence: float | None = setting(
        None,
        "Write nothing if the merged model differs by more; null = 0.1, or 0.01 with "
        "target=dequantized.",
        unit="nats per token",
        above=0,
    )


# judge. The values and their sources are in conf/judge.yaml.


class Kind(StrEnum):
    """The form of a verdict."""

    relative = "relative"  # a score of 1 to 10 for each answer
    threeclass = "threeclass"  # 1, 2, or 3 for a tie


class Judge(StrEnum):
    """Who gives the verdicts."""

    openai = "openai"  # a model behind any OpenAI-compatible server
    reference = "reference"  # the reference answer that the rows carry, offline


class TokenLimit(StrEnum):
    """The server's name for the limit of a verdict's length."""

    max_tokens = "max_tokens"
    max_completion_tokens = "max_completion_tokens"


@dataclass
class JudgeConfig:
    """Every setting of `anima-exp judge`."""

    answers: list[str] = setting(list, "Files of answers, with one model or more in each.")
    questions: str | None = setting(
        None, "File with the text and category of each question; null = those in the answers."
    )
    out: str = setting("ratings", "Folder to write verdicts to.")
    kind: Kind = setting(
        Kind.relative, "relative = two scores from 1 to 10; threeclass = 1, 2, or 3 for a tie."
    )
    reference_player: str | None = setting(
        None, "Compare every model with this one, a name or first; null = compare every pair."
    )
    max_questions: int | None = setting(
        None, "Judge only the first questions of each pair; null = all.", unit="questions", above=0
    )

    judge: Judge = setting(
        Judge.openai, "openai = a model behind an OpenAI-compatible server; reference = offline."
    )
    # Not `model`, which is a group of conf/.
    judge_model: str | None = setting(None, "The judge's model name at its server.")
    base_url: str | None = setting(None, "Address of the server; null = OpenAI's.")
    api_key_env: str = setting(
        "OPENAI_API_KEY", "Environment variable that holds the API key; no setting holds a key."
    )
    temperature: float | None = setting(
        0.2, "Sampling temperature of the judge; null = the server's default.", at_least=0
    )
    max_tokens: int = setting(1024, "Longest verdict.", unit="tokens", above=0)
    token_limit: TokenLimit = setting(
        TokenLimit.max_tokens, "The server's name for the limit of a verdict's length."
    )
    prompts: str | None = setting(
        None, "File of judge prompts in FastChat's format; null = the built-in ones."
    )
    reviewers: str | None = setting(
        None, "File in FastChat's format with prompt, temperature and length for each category."
    )

    concurrency: int = setting(8, "Calls in flight at the same time.", unit="calls", above=0)
    requests_per_minute: float | None = setting(
        None, "Most calls started per minute; null = no limit.", unit="calls", above=0
    )
    timeout_seconds: float = setting(120.0, "Longest wait for one call.", unit="seconds", above=0)
    retries: int = setting(6, "How often a call that failed is retried.", at_least=0)
    backoff_seconds: float = setting(
        1.0,
        "Wait before the first retry; doubles with each retry, up to 60.",
        unit="seconds",
        at_least=0,
    )

    dry_run: bool = setting(False, "If true, show what would be judged and its cost, and stop.")
    yes: bool = setting(False, "If true, start without asking for confirmation.")
    max_calls: int | None = setting(
        None, "Run up to this many calls without confirmation; refuse more.", at_least=0
    )
    max_cost: float | None = setting(
        None, "Spend up to this much without confirmation; refuse more.", at_least=0
    )
    price_per_million_input_tokens: float | None = setting(
        None, "Price in the currency of max_cost; null = unknown.", at_least=0
    )
    price_per_million_output_tokens: float | None = setting(
        None, "Price in the currency of max_cost; null = unknown.", at_least=0
    )
    retry_unparsed: bool = setting(
        False,
        "If true, ask again for verdicts that could not be parsed.",
        formerly=("again_unparsed",),
    )


# publish. No setting holds a token.


@dataclass
class PublishConfig:
    """Every setting of `anima-exp publish`."""

    run: str | None = setting(
        None, "Folder of a finished run, whose adapter or fully fine-tuned model is uploaded."
    )
    folder: str | None = setting(None, "Any folder with an adapter or a model, instead of run.")
    push: str | None = setting(None, "Repository on the hub: user/name or organization/name.")
    base: str | None = setting(
        None, "Hub id that replaces a local base in the uploaded adapter; null = leave it."
    )
    private: bool = setting(True, "If true, only you can see the repository.")
    message: str | None = setting(None, "Commit message; null = one that names the folder.")
    confirm: bool = setting(
        False,
        "If true, upload; false = only show what would be uploaded.",
        formerly_not=("dry_run",),
    )
