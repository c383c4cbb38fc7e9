"""Pairs, prompts and what is stored -> which calls are still to be made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from anima_exp.judge.calls import Call
from anima_exp.judge.matches import Match, Pair


@dataclass(frozen=True)
class PairPlan:
    """A pair's calls in both orders, and those of them that nobody has made yet."""

    pair: Pair
    calls: list[Call]
    to_ask: list[Call]


@dataclass(frozen=True)
class Plan:
    pairs: list[PairPlan]
    shared: int  # matches whose texts are exactly another one's: they share its verdict
    unparsed: int  # stored verdicts that cannot be read, and are not asked for again

    @property
    def to_ask(self) -> list[Call]:
        return [call for pair in self.pairs for call in pair.to_ask]

    @property
    def calls(self) -> list[Call]:
        return [call for pair in self.pairs for call in pair.calls]


def plan(
    pairs: list[Pair],
    call: Callable[[Match], Call],
    *,
    stored: Mapping[str, Mapping[str, Any]],
    again_unparsed: bool,
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
            if before is None or (again_unparsed and not before["parsed"]):
                to_ask.append(one)
            elif not before["parsed"]:
                unparsed += 1
        planned.append(PairPlan(pair, calls, to_ask))
    return Plan(planned, shared, unparsed)
