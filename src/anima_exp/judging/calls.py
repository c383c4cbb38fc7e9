"""Plan the calls to a judge: which verdicts are missing, and what they will cost."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from anima_exp.config.commands import JudgeConfig, Kind
from anima_exp.judging.matches import Match, Pair
from anima_exp.judging.prompts import Message, Prompt, choose


@dataclass(frozen=True)
class JudgeRequest:
    """The request for the verdict on one match."""

    match: Match
    prompt: Prompt
    kind: Kind
    judge: str
    temperature: float | None
    max_tokens: int
    key: str  # hash of everything that the verdict depends on; names and ids are not part of it

    @property
    def messages(self) -> list[Message]:
        # Built when needed, because the texts of all calls together are large.
        return _messages(self.match, self.prompt)


def call(match: Match, prompts: list[Prompt], config: JudgeConfig) -> JudgeRequest:
    """Return the request to a judge model. `config.judge_model` is set (checks.py)."""
    prompt = choose(prompts, match.question.category)
    temperature = config.temperature if prompt.temperature is None else prompt.temperature
    max_tokens = prompt.max_tokens or config.max_tokens
    judge = str(config.judge_model)
    content = [config.kind, judge, temperature, max_tokens, _messages(match, prompt)]
    return JudgeRequest(
        match, prompt, config.kind, judge, temperature, max_tokens, key=key(content)
    )


def key(content: object) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def _messages(match: Match, prompt: Prompt) -> list[Message]:
    return prompt.messages(match.question.text, match.first.text, match.second.text)


@dataclass(frozen=True)
class PairPlan:
    """The calls of a pair in both orders, and those whose verdicts are not stored."""

    pair: Pair
    calls: list[JudgeRequest]
    to_ask: list[JudgeRequest]


@dataclass(frozen=True)
class Plan:
    pairs: list[PairPlan]
    shared: int  # matches with the same texts as another match, whose verdict they share
    unparsed: int  # stored verdicts that could not be parsed and are not requested again

    @property
    def to_ask(self) -> list[JudgeRequest]:
        return [call for pair in self.pairs for call in pair.to_ask]

    @property
    def calls(self) -> list[JudgeRequest]:
        return [call for pair in self.pairs for call in pair.calls]


def plan(
    pairs: list[Pair],
    call: Callable[[Match], JudgeRequest],
    *,
    stored: Mapping[str, Mapping[str, Any]],
    retry_unparsed: bool,
) -> Plan:
    planned, seen, shared, unparsed = [], set[str](), 0, 0
    for pair in pairs:
        calls = [call(match) for match in pair.matches]
        to_ask = []
        for one in calls:
            if one.key in seen:
                shared += 1
                continue
            seen.add(one.key)
            before = stored.get(one.key)
            if before is None or (retry_unparsed and not before["parsed"]):
                to_ask.append(one)
            elif not before["parsed"]:
                unparsed += 1
        planned.append(PairPlan(pair, calls, to_ask))
    return Plan(planned, shared, unparsed)


# The estimate of tokens and cost before the first call.


HOW = "one token per 4 letters, or per Chinese, Japanese or Korean letter"
_WIDE = re.compile("[\u2e80-\U0010ffff]")


@dataclass(frozen=True)
class Estimate:
    """Tokens of the calls: an estimate of the input, and an upper limit of the output."""

    calls: int
    tokens_in: int
    most_tokens_out: int

    def cost(self, config: JudgeConfig) -> float | None:
        """Return the largest cost, in the currency of the prices; None without prices."""
        return cost(self.tokens_in, self.most_tokens_out, config)


def estimate(calls: Iterable[JudgeRequest]) -> Estimate:
    count = tokens_in = most_out = 0
    for call in calls:
        count += 1
        tokens_in += sum(tokens(message["content"]) for message in call.messages)
        most_out += call.max_tokens
    return Estimate(count, tokens_in, most_out)


def tokens(text: str) -> int:
    """Return the approximate number of tokens of a text."""
    wide = 0 if text.isascii() else len(_WIDE.findall(text))
    return wide + -(-(len(text) - wide) // 4)


def cost(tokens_in: int, tokens_out: int, config: JudgeConfig) -> float | None:
    price_in = config.price_per_million_input_tokens
    price_out = config.price_per_million_output_tokens
    if price_in is None or price_out is None:
        return None
    return (tokens_in * price_in + tokens_out * price_out) / 1e6
