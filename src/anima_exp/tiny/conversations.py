"""Generate conversations of the tiny world, where a later turn asks about an earlier answer.

A conversation has two or three turns, or one turn with a call of a calculator. Each turn is a
problem of the world. All problems of a conversation belong to one part, so no problem of a test
conversation occurs in a training conversation.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from anima_exp.tiny import phrases
from anima_exp.tiny.phrases import Value
from anima_exp.tiny.problems import DRAWS, Problem, check_part, part_of

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": what,
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
            },
        },
    }
    for name, what in (("sum", "Compute a + b."), ("difference", "Compute a - b."))
]
"""The schemas of the tools that the assistant may call."""
_TOOL_OF = {"addition": "sum", "subtraction": "difference"}

# What a later turn asks about the answer before it.
FOLLOW_UPS = {
    "addition": ("Add {b} to that.", "And plus {b}?", "What is that plus {b}?"),
    "subtraction": ("Take {b} away from that.", "And minus {b}?", "What is that minus {b}?"),
    "parity": ("Is that odd or even?", "And is it even or odd?"),
    "position": ("Which of these is the {how}?", "Name the {how} of these."),
    "reversal": ("Say it in reverse order.", "Now write that backwards."),
}
CALCULATIONS = {
    "addition": ("Use a tool: {a} plus {b}.", "Find the sum of {a} and {b} with a tool."),
    "subtraction": (
        "Use a tool: {a} minus {b}.",
        "Find the difference between {a} and {b} with a tool.",
    ),
}
_TURNS = (2, 3)  # with a tool, its call and its result are the first turn
_ATTEMPTS = 50  # draws of a problem before the conversation begins again


@dataclass
class Dialogue:
    """A conversation while it is generated."""

    kind: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)

    @property
    def answer(self) -> Value:
        return self.problems[-1].answer

    def ask(self, problem: Problem, question: str) -> None:
        """Add a turn with its answer, in words."""
        self.problems.append(problem)
        self.messages.append({"role": "user", "content": question})
        self.messages.append({"role": "assistant", "content": phrases.say(problem.answer, "en")})

    def row(self) -> dict[str, Any]:
        """Return the conversation as a row with the column `messages`."""
        tools = {"tools": self.tools} if self.tools else {}
        return {"messages": self.messages, "kind": self.kind, **tools}


class _NoSuchProblem(Exception):
    """A conversation has no next turn in its part of the world."""


@dataclass(frozen=True)
class _World:
    """Problems of one part, drawn with one random generator."""

    rng: random.Random
    part: str

    def draw(self, draw: Callable[[random.Random], Problem]) -> Problem:
        """Return a problem of this part.

        Raises:
            _NoSuchProblem: it has none.
        """
        for _ in range(_ATTEMPTS):
            problem = draw(self.rng)
            if part_of(problem) == self.part:
                return problem
        raise _NoSuchProblem

    def first(self, kind: str, *kinds: str) -> Dialogue:
        """Begin a conversation with a problem of one of `kinds`."""
        problem = self.draw(DRAWS[self.rng.choice(kinds)])
        templates = phrases.TEMPLATES[problem.kind]["en"]
        question = phrases.phrase(self.rng.choice(templates), problem.slots, "en")
        dialogue = Dialogue(kind)
        dialogue.ask(problem, question)
        return dialogue

    def follow(self, dialogue: Dialogue, *follow_ups: "_FollowUp") -> None:
        """Add a turn about the last answer."""
        chosen = self.rng.choice(follow_ups)
        problem = self.draw(lambda rng: chosen(dialogue.answer, rng))
        template = self.rng.choice(FOLLOW_UPS[problem.kind])
        dialogue.ask(problem, phrases.phrase(template, problem.slots, "en"))


_FollowUp = Callable[[Value, random.Random], Problem]


def _plus(answer: Value, rng: random.Random) -> Problem:
    number = int(str(answer))
    more = rng.randint(1, max(1, min(9, 99 - number)))
    return Problem("addition", {"a": str(number), "b": str(more)}, str(number + more))


def _minus(answer: Value, rng: random.Random) -> Problem:
    number = int(str(answer))
    less = rng.randint(0, min(9, number))
    return Problem("subtraction", {"a": str(number), "b": str(less)}, str(number - less))


def _parity(answer: Value, rng: random.Random) -> Problem:
    return Problem("parity", {"a": str(answer)}, "odd" if int(str(answer)) % 2 else "even")


def _position(answer: Value, rng: random.Random) -> Problem:
    items = _items(answer)
    how = rng.choice(("first", "last"))
    found = items[0 if how == "first" else -1]
    return Problem("position", {"how": how, "items": items}, found)


def _reversal(answer: Value, rng: random.Random) -> Problem:
    items = tuple(reversed(_items(answer)))
    turned = " ".join(items) if isinstance(answer, str) else items
    return Problem("reversal", {"letters": " ".join(_items(answer))}, turned)


def _items(answer: Value) -> tuple[str, ...]:
    return tuple(answer.split()) if isinstance(answer, str) else tuple(map(str, answer))


def numbers(world: _World, turns: int) -> Dialogue:
    """A calculation, then questions about its result."""
    dialogue = world.first("numbers", "addition", "subtraction", "extreme")
    world.follow(dialogue, _plus, _minus)
    if turns > 2:
        world.follow(dialogue, _plus, _minus, _parity)
    return dialogue


def lists(world: _World, turns: int) -> Dialogue:
    """A list in order, then questions about it."""
    dialogue = world.first("lists", "sorting", "reversal")
    if turns > 2:
        world.follow(dialogue, _reversal)
    world.follow(dialogue, _position)
    return dialogue


def calculator(world: _World, turns: int) -> Dialogue:
    """A call of the calculator, its result, and perhaps a question about the result."""
    problem = world.draw(world.rng.choice((_large_sum, _large_difference)))
    template = world.rng.choice(CALCULATIONS[problem.kind])
    question = phrases.phrase(template, problem.slots, "en")
    dialogue = Dialogue("calculator", problems=[problem], tools=TOOLS)
    numbers = {name: int(str(problem.slots[name])) for name in ("a", "b")}
    call = {"name": _TOOL_OF[problem.kind], "arguments": numbers}
    result = str(problem.answer)
    dialogue.messages += [
        {"role": "user", "content": question},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "function": call}],
        },
        {"role": "tool", "name": call["name"], "content": result},
        {"role": "assistant", "content": result},
    ]
    if turns > 2:
        world.follow(dialogue, _parity)
    return dialogue


def _large_sum(rng: random.Random) -> Problem:
    a, b = rng.randint(100, 499), rng.randint(100, 499)
    return Problem("addition", {"a": str(a), "b": str(b)}, str(a + b))


def _large_difference(rng: random.Random) -> Problem:
    a = rng.randint(200, 999)
    b = rng.randint(100, a - 100)
    return Problem("subtraction", {"a": str(a), "b": str(b)}, str(a - b))


_Kind = Callable[[_World, int], Dialogue]
KINDS: dict[str, _Kind] = {made.__name__: made for made in (numbers, lists, calculator)}


def dialogues(*, seed: int, part: str = "train") -> Iterator[Dialogue]:
    """Yield conversations in a cycle of kinds. The same seed gives the same on every machine."""
    check_part(part)
    world = _World(random.Random(seed), part)
    for make in cycle(KINDS.values()):
        yield _made(make, world, world.rng.choice(_TURNS))


def _made(make: _Kind, world: _World, turns: int) -> Dialogue:
    """Return a conversation of `turns` turns. Begin again if its part has no next problem."""
    while True:
        try:
            return make(world, turns)
        except _NoSuchProblem:
            continue


def conversation_rows(count: int, *, seed: int = 0, part: str = "train") -> list[dict[str, Any]]:
    """Return different conversations as rows with the columns messages, kind and perhaps tools."""
    stream = dialogues(seed=seed, part=part)
    rows: dict[str, dict[str, Any]] = {}
    while len(rows) < count:
        row = next(stream).row()
        rows.setdefault(json.dumps(row["messages"]), row)
    return list(rows.values())
