"""A match and a prompt -> the call that asks for its verdict, and the key of that call."""

import hashlib
import json
from dataclasses import dataclass

from anima_exp.judge.config import JudgeConfig, Kind
from anima_exp.judge.matches import Match
from anima_exp.judge.prompts import Message, Prompt, choose


@dataclass(frozen=True)
class Call:
    """What a judge is asked about one match."""

    match: Match
    prompt: Prompt
    kind: Kind
    judge: str
    temperature: float | None
    max_tokens: int
    key: str  # of all that the verdict depends on, and of nothing else: neither names nor ids

    @property
    def messages(self) -> list[Message]:
        # Built when needed: the texts of all calls together are large.
        return _messages(self.match, self.prompt)


def call(match: Match, prompts: list[Prompt], config: JudgeConfig) -> Call:
    """The call of a judge model; `config.judge_model` is set (check.py)."""
    prompt = choose(prompts, match.question.category)
    temperature = config.temperature if prompt.temperature is None else prompt.temperature
    max_tokens = prompt.max_tokens or config.max_tokens
    judge = str(config.judge_model)
    content = [config.kind, judge, temperature, max_tokens, _messages(match, prompt)]
    return Call(match, prompt, config.kind, judge, temperature, max_tokens, key=key(content))


def key(content: object) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def _messages(match: Match, prompt: Prompt) -> list[Message]:
    return prompt.messages(match.question.text, match.first.text, match.second.text)
