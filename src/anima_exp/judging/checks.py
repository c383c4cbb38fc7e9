"""Check the settings of the judge, without revealing a secret in an error."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from anima_exp.config.catalogue import check_limits
from anima_exp.config.commands import Judge, JudgeConfig, Kind
from anima_exp.errors import ConfigError


def check(config: JudgeConfig) -> None:
    """Raise ConfigError for the first invalid setting. The message never contains a secret."""
    check_limits(config)
    if not config.answers:
        raise ConfigError("answers=[] names no files. Give answers=[a.jsonl,b.jsonl].")
    if config.reviewers and not config.prompts:
        raise ConfigError(
            f"reviewers={config.reviewers} chooses among the prompts of a file, but prompts is not "
            "set. Give prompts=FILE."
        )
    if config.prompts:
        _kind_of_prompts(config.prompts, config.kind)
    if config.judge is Judge.openai and not config.judge_model:
        raise ConfigError(
            "judge_model is not set, so there is no judge. Give judge_model=NAME (QLoRA: gpt-4), "
            "or judge=reference."
        )
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", config.api_key_env):
        raise ConfigError(
            "api_key_env must be the name of an environment variable, but its value is not a valid "
            "name. Put the key in the environment: export OPENAI_API_KEY=..."
        )
    if config.base_url is not None:
        check_address(config.base_url, name="base_url")
    prices = (config.price_per_million_input_tokens, config.price_per_million_output_tokens)
    if prices.count(None) == 1:
        raise ConfigError(
            "Only one of price_per_million_input_tokens and price_per_million_output_tokens is "
            "set, so there is no cost. Give both, or neither."
        )
    if config.max_cost is not None and prices[0] is None:
        raise ConfigError(
            f"max_cost={config.max_cost} needs prices. Give price_per_million_input_tokens and "
            "price_per_million_output_tokens."
        )


def _kind_of_prompts(prompts: str, kind: Kind) -> None:
    """Raise ConfigError if a prompt file is named for another kind of verdict."""
    for other in Kind:
        if other is not kind and other in Path(prompts).stem and kind not in Path(prompts).stem:
            raise ConfigError(
                f"prompts={prompts} is named as a file for {other.value} verdicts, which "
                f"kind={kind.value} cannot parse. Add kind={other.value}, or rename the file."
            )


def check_address(base_url: str, *, name: str) -> None:
    """Raise ConfigError unless the address is plain. `name` is its setting or variable."""
    try:
        parts = urlsplit(base_url)
        plain = parts.username is None and parts.password is None and not parts.query
        whole = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        plain, whole = "@" not in base_url, False
    if not plain:  # the message omits the address, which holds a password or a token
        raise ConfigError(
            f"{name} holds a password or a query. Give the bare address, and the key in the "
            "environment variable that api_key_env names."
        )
    if not whole:
        raise ConfigError(
            f"{name}={base_url} is not a valid address. Write {name}=http://localhost:8000/v1"
        )
