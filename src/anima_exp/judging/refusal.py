"""Classify rejections of a server that a retry does not help: of one call, or of every call."""

from anima_exp.config.commands import JudgeConfig
from anima_exp.errors import ConfigError

_OF_ONE_CALL = ("context_length_exceeded", "content_filter", "string_above_max_length")


class CallFailed(Exception):
    """A call has no verdict. Other calls can continue."""


def failed_alone(status: int, code: str | None, text: str) -> bool:
    """Return whether a rejection concerns the texts of this call and not the settings."""
    too_long = "context length" in text.lower() or "maximum context" in text.lower()
    return status == 413 or code in _OF_ONE_CALL or (status in (400, 422) and too_long)


def refusal(status: int, text: str, config: JudgeConfig) -> ConfigError:
    """Return the error for a rejection that holds for every call.

    `text` is the first line of the server's message, without the key.
    """
    if status == 401:  # a server may quote a part of the key, so its text is not shown
        return ConfigError(
            f"The server rejected the API key (HTTP 401). Check {config.api_key_env}."
        )
    if status == 404:
        where = config.base_url or "OPENAI_BASE_URL, or OpenAI"
        return ConfigError(
            f"The server does not know judge_model={config.judge_model} or the address (HTTP 404): "
            f"{text}. Check judge_model and base_url={where}."
        )
    hint = ""
    if "max_completion_tokens" in text:
        hint = " Add token_limit=max_completion_tokens."
    elif "temperature" in text:
        hint = " Add temperature=null for the server's own."
    return ConfigError(f"The server rejected the request (HTTP {status}): {text}{hint}")
