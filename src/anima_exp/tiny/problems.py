"""Generate the problems of the tiny world, without a language, for training or testing."""

import random
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle

from anima_exp.errors import ConfigError
from anima_exp.tiny import phrases
from anima_exp.tiny.phrases import Value

PARTS = ("train", "test")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEST_BUCKETS = 8


@dataclass(frozen=True)
class Problem:
    kind: str
    slots: Mapping[str, Value]
    answer: Value


Draw = Callable[[random.Random], Problem]


def addition(rng: random.Random) -> Problem:
    total = rng.randint(5, 99)
    a = rng.randint(0, total)
    return Problem("addition", {"a": str(a), "b": str(total - a)}, str(total))


def subtraction(rng: random.Random) -> Problem:
    a = rng.randint(5, 99)
    b = rng.randint(0, a)
    return Problem("subtraction", {"a": str(a), "b": str(b)}, str(a - b))


def extreme(rng: random.Random) -> Problem:
    how = rng.choice(list(phrases.EXTREMES))
    numbers = rng.sample(range(100), rng.randint(3, 5))
    answer = max(numbers) if how == "largest" else min(numbers)
    return Problem("extreme", {"how": how, "items": tuple(map(str, numbers))}, str(answer))


def sorting(rng: random.Random) -> Problem:
    how = rng.choice(list(phrases.ORDERS))
    digits = rng.sample(range(10), rng.randint(4, 6))
    answer = sorted(digits, reverse=how == "from large to small")
    items = tuple(map(str, digits))
    return Problem("sorting", {"how": how, "items": items}, tuple(map(str, answer)))


def reversal(rng: random.Random) -> Problem:
    letters = rng.sample(LETTERS, rng.randint(3, 6))
    return Problem("reversal", {"letters": " ".join(letters)}, " ".join(reversed(letters)))


def counting(rng: random.Random) -> Problem:
    item, *others = rng.sample(list(phrases.ANIMALS), 3)
    count, rest = rng.randint(1, 5), rng.randint(1, 3)
    items = [item] * count + [rng.choice(others) for _ in range(rest)]
    rng.shuffle(items)
    return Problem("counting", {"item": item, "items": tuple(items)}, str(count))


def lookup(rng: random.Random) -> Problem:
    size = rng.randint(3, 4)
    animals = rng.sample(list(phrases.ANIMALS), size)
    colours = rng.sample(list(phrases.COLOURS), size)
    asked = rng.randrange(size)
    table = tuple(zip(animals, colours, strict=True))
    return Problem("lookup", {"item": animals[asked], "table": table}, colours[asked])


def position(rng: random.Random) -> Problem:
    how = rng.choice(list(phrases.ORDINALS))
    fruits = rng.sample(list(phrases.FRUITS), rng.randint(3, 5))
    answer = fruits[{"first": 0, "second": 1, "third": 2, "last": -1}[how]]
    return Problem("position", {"how": how, "items": tuple(fruits)}, answer)


def parity(rng: random.Random) -> Problem:
    number = rng.randint(10, 9999)
    return Problem("parity", {"a": str(number)}, "odd" if number % 2 else "even")


def sequence(rng: random.Random) -> Problem:
    step, terms = rng.randint(1, 10), rng.randint(3, 4)
    start = rng.randint(1, 99 - step * terms)
    items = tuple(str(start + step * i) for i in range(terms))
    return Problem("sequence", {"items": items}, str(start + step * terms))


DRAWS: dict[str, Draw] = {
    draw.__name__: draw
    for draw in (
        addition,
        subtraction,
        extreme,
        sorting,
        reversal,
        counting,
        lookup,
        position,
        parity,
        sequence,
    )
}
KINDS = tuple(DRAWS)


def operands(problem: Problem) -> str:
    """Return the kind and operands. `how` is left out, so largest and smallest stay together."""
    slots = sorted((name, value) for name, value in problem.slots.items() if name != "how")
    return f"{problem.kind} {slots}"


def part_of(problem: Problem) -> str:
    """Return train or test by a stable hash of kind and operands, so that no wording can leak."""
    bucket = zlib.crc32(operands(problem).encode()) % TEST_BUCKETS
    return "test" if bucket == 0 else "train"


def check_part(part: str) -> None:
    if part not in PARTS:
        raise ConfigError(
            f"There is no part {part!r} in the tiny world. Choose one of {', '.join(PARTS)}."
        )


def problems(rng: random.Random, part: str, kinds: tuple[str, ...] = KINDS) -> Iterator[Problem]:
    """Yield problems in a cycle of kinds, so that every prefix is balanced."""
    check_part(part)
    for kind in cycle(kinds):
        problem = DRAWS[kind](rng)
        while part_of(problem) != part:
            problem = DRAWS[kind](rng)
        yield problem
