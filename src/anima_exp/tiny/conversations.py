"""Generate conversations of the tiny world, where a later turn asks about an earlier answer.

Each has two or three answers. In a third of them the first answer calls a tool that computes. All
problems of a conversation belong to one part, so none of a test conversation is in a training
conversation, in any wording.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from anima_exp.errors import ConfigError
from anima_exp.tiny import phrases
from anima_exp.tiny.phrases import Value
from anima_exp.tiny.problems import DRAWS, Problem, check_part, part_of

Draw = Callable[[random.Random], Problem]
FollowUp = Callable[[Value, random.Random], Problem]  # (the answer before it, ...) -> a problem

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
            },
        },
    }
    for name, description in (("sum", "Compute a + b."), ("difference", "Compute a - b."))
]
_TOOL_FOR = {"addition": "sum", "subtraction": "difference"}
TOOL_TEMPLATES = {
    "addition": ("Use a tool: {a} plus {b}.", "Find the sum of {a} and {b} with a tool."),
    "subtraction": (
        "Use a tool: {a} minus {b}.",
        "Find the difference between {a} and {b} with a tool.",
    ),
}
FOLLOW_UP_TEMPLATES = {
    "addition": ("Add {b} to that.", "And plus {b}?", "What is that plus {b}?"),
    "subtraction": ("Take {b} away from that.", "And minus {b}?", "What is that minus {b}?"),
    "parity": ("Is that odd or even?", "And is it even or odd?"),
    "position": ("Which of these is the {how}?", "Name the {how} of these."),
    "reversal": ("Say it in reverse order.", "Now write that backwards."),
}
_ANSWERS = (2, 3)  # in a conversation; a call of a tool is an answer
_MAX_DRAWS = 50  # of a problem, before the conversation is begun again
_MAX_REPEATS = 1000  # conversations in a row that are known: then there are no more


@dataclass
class Dialogue:
    """A conversation while it is generated."""

    kind: str
    problems: list[Problem] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)

    @property
    def answer(self) -> Value:
        """The last answer."""
        return self.problems[-1].answer

    def ask(self, problem: Problem, template: str, *, tool: str | None = None) -> None:
        """Add a problem and its answer. A tool is called before the answer."""
        self.problems.append(problem)
        self._say("user", phrases.phrase(template, problem.slots, "en"))
        answer = phrases.say(problem.answer, "en")
        if tool:
            self.tools = TOOLS
            arguments = {name: int(str(problem.slots[name])) for name in ("a", "b")}
            call = {"type": "function", "function": {"name": tool, "arguments": arguments}}
            self._say("assistant", "", tool_calls=[call])
            self._say("tool", answer, name=tool)
        self._say("assistant", answer)

    def row(self) -> dict[str, Any]:
        """Return the conversation as a row of `messages`."""
        row = {"messages": self.messages, "kind": self.kind}
        return row | ({"tools": self.tools} if self.tools else {})

    def _say(self, role: str, content: str, **fields: Any) -> None:
        self.messages.append({"role": role, "content": content, **fields})


class _NoSuchProblem(Exception):
    """The part has no problem for the next turn."""


@dataclass(frozen=True)
class _Writer:
    """Write conversations with the problems of one part."""

    rng: random.Random
    part: str

    def numbers(self, answers: int) -> Dialogue:
        """Write a calculation, and then compute with its result."""
        dialogue = self._begin("numbers", "addition", "subtraction", "extreme")
        self._follow(dialogue, _plus, _minus)
        if answers > 2:
            self._follow(dialogue, _plus, _minus, _parity)
        return dialogue

    def lists(self, answers: int) -> Dialogue:
        """Write a list in order, and ask about it."""
        dialogue = self._begin("lists", "sorting", "reversal")
        if answers > 2:
            self._follow(dialogue, _reversal)
        self._follow(dialogue, _position)
        return dialogue

    def calls(self, answers: int) -> Dialogue:
        """Write a call of a tool with numbers that are too large for the tiny base."""
        dialogue = Dialogue("calls")
        problem = self._draw(self.rng.choice((_large_sum, _large_difference)))
        template = self.rng.choice(TOOL_TEMPLATES[problem.kind])
        dialogue.ask(problem, template, tool=_TOOL_FOR[problem.kind])
        if answers > 2:
            self._follow(dialogue, _parity)
        return dialogue

    def _begin(self, kind: str, *problem_kinds: str) -> Dialogue:
        dialogue = Dialogue(kind)
        problem = self._draw(DRAWS[self.rng.choice(problem_kinds)])
        dialogue.ask(problem, self.rng.choice(phrases.TEMPLATES[problem.kind]["en"]))
        return dialogue

    def _follow(self, dialogue: Dialogue, *follow_ups: FollowUp) -> None:
        follow_up, answer = self.rng.choice(follow_ups), dialogue.answer
        problem = self._draw(lambda rng: follow_up(answer, rng))
        dialogue.ask(problem, self.rng.choice(FOLLOW_UP_TEMPLATES[problem.kind]))

    def _draw(self, draw: Draw) -> Problem:
        for _ in range(_MAX_DRAWS):
            if part_of(problem := draw(self.rng)) == self.part:
                return problem
        raise _NoSuchProblem


KINDS = ("numbers", "lists", "calls")


def dialogues(*, seed: int, part: str = "train") -> Iterator[Dialogue]:
    """Yield conversations in a cycle of kinds. The same seed gives the same on every machine."""
    check_part(part)
    writer = _Writer(random.Random(seed), part)
    for kind in cycle(KINDS):
        write: Callable[[int], Dialogue] = getattr(writer, kind)
        yield _written(write, writer.rng.choice(_ANSWERS))


def conversation_rows(count: int, *, seed: int = 0, part: str = "train") -> list[dict[str, Any]]:
    """Return rows with the columns messages, kind and, with calls, tools. No two are the same."""
    stream = dialogues(seed=seed, part=part)
    rows: dict[str, dict[str, Any]] = {}
    repeats = 0
    while len(rows) < count:
        row = next(stream).row()
        text = json.dumps(row["messages"])
        repeats = repeats + 1 if text in rows else 0
        if repeats > _MAX_REPEATS:
            raise ConfigError(
                f"The tiny world has fewer than {count} different conversations. Give a smaller "
                "number."
            )
        rows.setdefault(text, row)
    return list(rows.values())


def _written(write: Callable[[int], Dialogue], answers: int) -> Dialogue:
    """Return a conversation. Its length is chosen before, so that both parts have the same."""
    while True:
        try:
            return write(answers)
        except _NoSuchProblem:
            continue


def _large_sum(rng: random.Random) -> Problem:
    a, b = rng.randint(100, 499), rng.randint(100, 499)
    return Problem("addition", {"a": str(a), "b": str(b)}, str(a + b))


def _large_difference(rng: random.Random) -> Problem:
    a = rng.randint(200, 999)
    b = rng.randint(100, a - 100)
    return Problem("subtraction", {"a": str(a), "b": str(b)}, str(a - b))


def _plus(answer: Value, rng: random.Random) -> Problem:
    number, more = int(str(answer)), rng.randint(1, 9)
    return Problem("addition", {"a": str(number), "b": str(more)}, str(number + more))


def _minus(answer: Value, rng: random.Random) -> Problem:
    number = int(str(answer))
    less = rng.randint(min(1, number), min(9, number))
    return Problem("subtraction", {"a": str(number), "b": str(less)}, str(number - less))


def _parity(answer: Value, rng: random.Random) -> Problem:
    return Problem("parity", {"a": str(answer)}, "odd" if int(str(answer)) % 2 else "even")


def _position(answer: Value, rng: random.Random) -> Problem:
    items, how = _items(answer), rng.choice(("first", "last"))
    return Problem("position", {"how": how, "items": items}, items[0 if how == "first" else -1])


def _reversal(answer: Value, rng: random.Random) -> Problem:
    items = _items(answer)
    turned = items[::-1]
    return Problem(
        "reversal",
        {"letters": " ".join(items)},
        " ".join(turned) if isinstance(answer, str) else turned,
    )


def _items(answer: Value) -> tuple[str, ...]:
    """Return the items of a list: letters are a text with spaces, digits are a tuple."""
    return tuple(answer.split()) if isinstance(answer, str) else tuple(map(str, answer))
