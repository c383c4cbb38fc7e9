"""Call an OpenAI-compatible server, with retries and a rate limit, and without logging."""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from anima_exp.config.commands import JudgeConfig
from anima_exp.errors import ConfigError
from anima_exp.judging.calls import JudgeRequest
from anima_exp.judging.checks import check_address
from anima_exp.judging.refusal import CallFailed, failed_alone, refusal
from anima_exp.judging.verdict import Reply
from anima_exp.system import json_files
from anima_exp.system.terminal import printable

if TYPE_CHECKING:
    from tenacity import RetryCallState


class RateLimiter:
    """Space all requests evenly: `per_minute` requests, including retries; None = no limit."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_apart = 60 / per_minute if per_minute else 0.0
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the next free start time, and reserve it."""
        while (wait := self._next - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        self._next = time.monotonic() + self._seconds_apart

    def hold(self, seconds: float) -> None:
        """Pause all requests for `seconds`: a server that is too busy for one is so for all."""
        self._next = max(self._next, time.monotonic() + seconds)


_LONGEST_BACKOFF_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 600.0  # if a server asks for a longer wait, the call fails
_AGAIN = (408, 409, 425, 429)  # statuses that are retried, and 5xx
_MOST_BYTES = 4 * 2**20  # largest reply; a verdict has a few kilobytes


class _RetryableError(Exception):
    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class _TooLongError(Exception):
    pass


@dataclass
class Client:
    """A client of the server, with its key (in memory only) and its rate limit."""

    config: JudgeConfig
    key: str = field(repr=False)
    address: str | None
    pace: RateLimiter
    retried: int = 0
    _openai: Any = None

    async def ask(self, call: JudgeRequest) -> Reply:
        """Return the judge's reply, after retries if necessary.

        Raises:
            CallFailed: if every attempt failed. Other calls may succeed.
            ConfigError: if the server rejects the call for a reason that holds for every call.
        """
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

        attempts = AsyncRetrying(
            retry=retry_if_exception_type(_RetryableError),
            stop=stop_after_attempt(self.config.retries + 1),
            wait=self._backoff,
            before_sleep=self._before_retry,
            reraise=True,
        )
        try:
            return await attempts(self._try, call)
        except _RetryableError as error:
            tries = self.config.retries + 1
            raise CallFailed(f"{error}, {tries} {'try' if tries == 1 else 'tries'}") from None

    def _backoff(self, state: "RetryCallState") -> float:
        from tenacity import wait_exponential

        seconds = self.config.backoff_seconds
        longest = wait_exponential(multiplier=seconds, max=_LONGEST_BACKOFF_SECONDS)(state)
        return longest * random.uniform(0.5, 1)  # so that calls do not retry together

    def _before_retry(self, state: "RetryCallState") -> None:
        """Count the retry, and hold all calls for as long as the server asks for."""
        self.retried += 1
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, _RetryableError) and error.wait_seconds is not None:
            self.pace.hold(error.wait_seconds)

    async def _try(self, call: JudgeRequest) -> Reply:
        import openai

        await self.pace.turn()
        seconds = self.config.timeout_seconds
        try:
            # For the complete reply: the library's timeout is between two pieces of a reply.
            async with asyncio.timeout(seconds):
                raw = await self._openai.chat.completions.with_raw_response.create(
                    **self._request(call)
                )
                body = raw.text
        except (TimeoutError, openai.APITimeoutError) as error:
            raise _RetryableError(f"no reply within {seconds:g} s") from error
        except (_TooLongError, openai.APIConnectionError) as error:
            if _TooLongError in (
                type(error),
                type(error.__cause__),
            ):  # depends on the library's version
                raise CallFailed(f"a reply of more than {_MOST_BYTES / 2**20:g} MiB") from None
            raise _RetryableError(f"the connection failed ({_cause(error)})") from error
        except openai.APIStatusError as error:
            # `from None`, because the library's error holds the request with the key.
            raise self._status(error) from None
        return self._reply(body)

    def _status(self, error: Any) -> Exception:
        status, text = error.status_code, self.hidden(_message(error.body))
        again = status in _AGAIN or status >= 500
        if again and "insufficient_quota" not in (error.code, error.type):
            wait = _retry_after(error.response.headers)
            if wait is not None and wait > _LONGEST_WAIT_SECONDS:
                return CallFailed(f"the server asks for a wait of {wait:,.0f} s")
            return _RetryableError(f"HTTP {status}", wait)
        if failed_alone(status, error.code, text):
            return CallFailed(f"HTTP {status}: {text}")
        return refusal(status, text, self.config)

    def _reply(self, body: str) -> Reply:
        try:
            content = json_files.parse(body)
            choice = content["choices"][0]
            text = choice["message"]["content"] or ""
            if not isinstance(text, str):
                raise TypeError
            usage = content.get("usage") or {}
            return Reply(
                text=self.hidden(text.encode(errors="replace").decode()),
                tokens_in=_count(usage.get("prompt_tokens")),
                tokens_out=_count(usage.get("completion_tokens")),
                finish=str(choice["finish_reason"]) if choice.get("finish_reason") else None,
            )
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise _RetryableError("the reply is not a chat completion") from error

    def _request(self, call: JudgeRequest) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": call.judge,
            "messages": call.messages,
            self.config.token_limit.value: call.max_tokens,
        }
        if call.temperature is not None:
            request["temperature"] = call.temperature
        return request

    def open(self) -> None:
        """Import the library, which takes a second, and create its client."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        self._openai = AsyncOpenAI(
            http_client=DefaultAsyncHttpxClient(event_hooks={"response": [_bound]}),
            default_headers={"Accept-Encoding": "identity"},  # so that _MOST_BYTES is the real size
            api_key=self.key,
            base_url=self.address,
            timeout=self.config.timeout_seconds,
            # ask() retries. The library itself would retry outside requests_per_minute and without
            # credit, would not wait longer than two minutes, and accepts a reply of any kind.
            max_retries=0,
        )

    async def close(self) -> None:
        await self._openai.close()

    def hidden(self, text: str) -> str:
        """Return `text` without the key, which a server may send back."""
        return text.replace(self.key, "***") if len(self.key) > 5 else text


async def _bound(response: Any) -> None:
    """Make reading fail if a reply is too long. httpx calls this before it reads."""
    # openai uses httpx, or a copy of it under another name.
    library = import_module(type(response).__module__.partition(".")[0])
    whole = response.stream

    class Bounded(library.AsyncByteStream):  # type: ignore[name-defined, misc]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            left = _MOST_BYTES
            async for piece in whole:
                left -= len(piece)
                if left < 0:
                    raise _TooLongError
                yield piece

        async def aclose(self) -> None:
            await whole.aclose()

    response.stream = Bounded()


def address_of(config: JudgeConfig) -> str | None:
    """Return the server's address; None = OpenAI's.

    Raises:
        ConfigError: if the address in the environment is invalid.
    """
    if not config.base_url and (found := os.environ.get("OPENAI_BASE_URL")):
        check_address(found, name="OPENAI_BASE_URL")
        return found
    return config.base_url


def connect(config: JudgeConfig) -> Client:
    """Return the client of a config, without sending anything.

    Raises:
        ConfigError: if the library or the key is missing, or the address is invalid.
    """
    for library in ("openai", "tenacity"):
        if find_spec(library) is None:
            raise ConfigError(
                f"judge=openai needs the {library} library, which is not installed: "
                "pip install 'anima-exp[judge]'"
            )
    address = address_of(config)
    key = os.environ.get(config.api_key_env, "").strip()
    if not key and address is None:
        raise ConfigError(
            f"There is no API key. Set it with export {config.api_key_env}=..., or give the "
            "base_url of a server that needs no key."
        )
    if not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"{config.api_key_env} holds characters that an API key cannot have. Set it again."
        )
    # A local server needs no key, but the library always sends one.
    return Client(config, key or "none", address, RateLimiter(config.requests_per_minute))


def _retry_after(headers: Any) -> float | None:
    """Return the seconds of a Retry-After header, which holds seconds or a date."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        from datetime import UTC, datetime

        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None


def _message(body: object) -> str:
    """Return the first line of the server's message, if it is readable."""
    inner = body.get("error", body) if isinstance(body, dict) else body
    value = inner.get("message", "") if isinstance(inner, dict) else inner
    lines = str(value or "").strip().splitlines()
    return printable(lines[0][:300]) if lines else "no reason given"


def _cause(error: BaseException) -> str:
    inner = error.__cause__ or error
    return type(inner).__name__


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
