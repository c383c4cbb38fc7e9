"""What a judge may be told; the values and their sources are in conf/judge.yaml."""

from dataclasses import dataclass
from enum import StrEnum

from anima_exp.config.setting import setting


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
