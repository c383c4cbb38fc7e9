"""Calls -> tokens and cost before the first one is made."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from anima_exp.judge.calls import Call
from anima_exp.judge.config import JudgeConfig

HOW = "4 letters a token, one a Chinese, Japanese or Korean letter"
_WIDE = re.compile("[\u2e80-\U0010ffff]")


@dataclass(frozen=True)
class Estimate:
    """What calls will take. The input is an estimate, the output the most it can be."""

    calls: int
    tokens_in: int
    most_tokens_out: int

    def cost(self, config: JudgeConfig) -> float | None:
        """At most so much, in the money of the prices; None where they are not given."""
        return cost(self.tokens_in, self.most_tokens_out, config)


def estimate(calls: Iterable[Call]) -> Estimate:
    count = tokens_in = most_out = 0
    for call in calls:
        count += 1
        tokens_in += sum(tokens(message["content"]) for message in call.messages)
        most_out += call.max_tokens
    return Estimate(count, tokens_in, most_out)


def tokens(text: str) -> int:
    """About how many tokens `text` is."""
    wide = 0 if text.isascii() else len(_WIDE.findall(text))
    return wide + -(-(len(text) - wide) // 4)


def cost(tokens_in: int, tokens_out: int, config: JudgeConfig) -> float | None:
    price_in = config.price_per_million_input_tokens
    price_out = config.price_per_million_output_tokens
    if price_in is None or price_out is None:
        return None
    return (tokens_in * price_in + tokens_out * price_out) / 1e6
