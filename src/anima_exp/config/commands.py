"""A model to use rather than to train."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.evals import AnsweringConfig
from anima_exp.config.model import Precision
from anima_exp.config.run import RunConfig
from anima_exp.config.setting import setting


@dataclass
class UseConfig(RunConfig):
    """A finished run's model, an adapter on a base, or a bare base; the rest as of a run."""

    run: str | None = setting(None, "A run's folder: its model, data and adapter.")
    adapter: str | None = setting(None, "Or an adapter's folder or hub id, on model.")


@dataclass
class EvaluateConfig(UseConfig):
    """Which model to measure with which `evals`, and what to show."""

    subjects: bool = setting(False, "Show one line for each subject, not for categories alone.")
    prompts: str | None = setting(
        None, "Write the benchmarks' prompts into this folder and measure nothing."
    )


# A model to ask: one question, many from a file, or one after another in a terminal.


@dataclass
class GenerateConfig(AnsweringConfig, UseConfig):
    """What `python -m anima_exp.generate` may be told."""

    prompt: str | None = setting(None, "One question, answered on the terminal.")
    questions: str | None = setting(
        None, "A file, a URL, tiny_zh or tiny_en; null without prompt starts a chat."
    )
    out: str | None = setting(None, "File for the answers; null = answers/MODEL.jsonl.")
    beside: list[str] = setting(list, "More runs or adapters to ask, on the same base.")
    compare: bool = setting(False, "The base answers too, with prompt or in the chat.")


# An adapter to fold into its base: onto which weights, how they are stored, what is proved.


class Onto(StrEnum):
    """Which weights of the base the adapter is added to."""

    base = "base"  # its own, in 16 bits: the better model where NF4 cost the base something
    dequantized = "dequantized"  # those that it was trained on: the same model to rounding


@dataclass
class MergeConfig(UseConfig):
    """What `python -m anima_exp.merge` may be told."""

    out: str | None = setting(None, "The folder to make.")
    onto: Onto = setting(Onto.base, "Which weights of the base the adapter is added to.")
    dtype: Precision | None = setting(
        None, "Type of the merged weights; null = the base's own, if that has 16 bits."
    )
    shard_gib: float = setting(
        4.0, "Size of one file; a merge holds one of them in memory.", unit="GiB", above=0
    )
    prove: bool = setting(True, "Measure the merged model before it is moved to out.")
    proof_rows: int = setting(
        256, "Measure on at most this many held-out rows.", unit="rows", above=0
    )
    proof_tokens: int = setting(
        2048,
        "Measure on at most this many label tokens; each keeps a whole distribution.",
        unit="tokens",
        above=0,
    )
    max_divergence: float | None = setting(
        None,
        "Largest divergence from the trained model; null = see conf/merge.yaml.",
        unit="nats per token",
        above=0,
    )


# What a judge may be told; the values and their sources are in conf/judge.yaml.


class Kind(StrEnum):
    """What a verdict is."""

    relative = "relative"  # a score of 1 to 10 for each answer
    threeclass = "threeclass"  # 1, 2, or 3 for a tie


class Judge(StrEnum):
    """Who gives the verdicts."""

    openai = "openai"  # a model behind any OpenAI-compatible server
    reference = "reference"  # the reference answer that the rows carry, offline


class TokenLimit(StrEnum):
    """How a server calls the limit of a verdict's length."""

    max_tokens = "max_tokens"
    max_completion_tokens = "max_completion_tokens"


@dataclass
class JudgeConfig:
    """Every setting of `python -m anima_exp.judge`."""

    answers: list[str] = setting(list, "Files of answers, one model or more in each.")
    questions: str | None = setting(None, "File with the questions' texts and categories.")
    out: str = setting("ratings", "Folder for the verdicts.")
    kind: Kind = setting(Kind.relative, "What a verdict is.")
    reference_player: str | None = setting(
        None, "Judge every model against this one, a name or first; null judges every pair."
    )
    max_questions: int | None = setting(
        None, "Judge only the first questions of each pair.", unit="questions", above=0
    )

    judge: Judge = setting(Judge.openai, "Who gives the verdicts.")
    # Not `model`, which is a group of conf/.
    judge_model: str | None = setting(None, "The judge's model name at its server.")
    base_url: str | None = setting(None, "Address of the server; null = OpenAI.")
    api_key_env: str = setting(
        "OPENAI_API_KEY", "Environment variable with the key; a key is in no setting."
    )
    temperature: float | None = setting(
        0.2, "Sampling temperature; null = the server's own.", at_least=0
    )
    max_tokens: int = setting(1024, "Longest verdict.", unit="tokens", above=0)
    token_limit: TokenLimit = setting(
        TokenLimit.max_tokens, "What the server calls the limit of a verdict's length."
    )
    prompts: str | None = setting(
        None, "File of prompts in FastChat's form; null = our own wording."
    )
    reviewers: str | None = setting(
        None, "File in FastChat's form: prompt, temperature and length by category."
    )

    concurrency: int = setting(8, "Calls at once.", above=0)
    requests_per_minute: float | None = setting(None, "Calls started per minute.", above=0)
    timeout_seconds: float = setting(120.0, "Longest call.", unit="seconds", above=0)
    retries: int = setting(6, "More tries of a call that failed.", at_least=0)
    backoff_seconds: float = setting(
        1.0,
        "Wait before the first retry; doubled each time, at most 60.",
        unit="seconds",
        at_least=0,
    )

    dry_run: bool = setting(False, "Show what would be judged and what it costs, and stop.")
    yes: bool = setting(False, "Judge without asking.")
    max_calls: int | None = setting(
        None, "Up to this many calls need no confirmation; more are refused.", at_least=0
    )
    max_cost: float | None = setting(
        None, "Up to this cost needs no confirmation; more is refused.", at_least=0
    )
    price_per_million_input_tokens: float | None = setting(
        None, "Price, in the money of max_cost.", at_least=0
    )
    price_per_million_output_tokens: float | None = setting(
        None, "Price, in the money of max_cost.", at_least=0
    )
    again_unparsed: bool = setting(False, "Ask again for verdicts that could not be read.")


# What publishing may be told; a token is no setting.


@dataclass
class PublishConfig:
    """Every setting of `python -m anima_exp.publish`."""

    run: str | None = setting(
        None, "A finished run's folder: its adapter, or its model with lora=none."
    )
    folder: str | None = setting(None, "Or any folder with an adapter or a model.")
    push: str | None = setting(None, "user/name or organization/name on the hub.")
    base: str | None = setting(None, "Hub id written in place of a local base.")
    private: bool = setting(True, "Make the repository private.")
    message: str | None = setting(
        None, "Message of the commit; null = a line with the folder's name."
    )
    dry_run: bool = setting(True, "Show what would be uploaded, and stop.")
