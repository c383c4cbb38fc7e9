"""What a judge may be told; the values and their sources are in conf/judge.yaml."""

from dataclasses import dataclass, field
from enum import StrEnum


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

    answers: list[str] = field(default_factory=list)  # files, one model or more in each
    questions: str | None = None  # file with the texts and categories of the questions
    out: str = "ratings"
    kind: Kind = Kind.relative
    reference_player: str | None = None  # null = every pair; a model's name or "first"
    max_questions: int | None = None  # of each pair, the first so many

    judge: Judge = Judge.openai
    judge_model: str | None = None  # not `model`: that is a group of conf/
    base_url: str | None = None  # null = OpenAI
    api_key_env: str = "OPENAI_API_KEY"  # the variable's name; a key is in no setting
    temperature: float | None = 0.2  # null = the server's own
    max_tokens: int = 1024  # of a verdict
    token_limit: TokenLimit = TokenLimit.max_tokens
    prompts: str | None = None  # FastChat's form; null = our own wording
    reviewers: str | None = None  # FastChat's form: prompt, temperature, length by category

    concurrency: int = 8  # calls under way at once
    requests_per_minute: float | None = None
    timeout_seconds: float = 120.0
    retries: int = 6  # after the first try of a call
    backoff_seconds: float = 1.0  # before the first retry; doubled each time, at most 60

    dry_run: bool = False
    yes: bool = False
    max_calls: int | None = None  # up to so many need no confirmation; more are refused
    max_cost: float | None = None  # the same, in the money of the prices
    price_per_million_input_tokens: float | None = None
    price_per_million_output_tokens: float | None = None
    again_unparsed: bool = False
