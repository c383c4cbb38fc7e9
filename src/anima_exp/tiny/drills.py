"""In: a random source; out: a simple English skill under a long answer, and that answer.

Many right tokens a row make a skill quick to learn. No drill holds the operands of a test task:
lists and tables are longer than the world's, and sums are checked one by one.
"""

import random

from anima_exp.tiny import phrases
from anima_exp.tiny.multiple_choice import LETTERS
from anima_exp.tiny.problems import Problem, part_of


def drill(rng: random.Random) -> tuple[str, str]:
    return rng.choice((copy, count_each, colours, add_to_each, subtract_from_each, find_line))(rng)


def copy(rng: random.Random) -> tuple[str, str]:
    words = rng.choice((phrases.ANIMALS, phrases.FRUITS, phrases.COLOURS))
    items = listed(rng.sample(list(words), rng.randint(3, 6)))
    return f"Copy {items}.", items


def count_each(rng: random.Random) -> tuple[str, str]:
    animals = rng.sample(list(phrases.ANIMALS), 3)
    items = animals + rng.choices(animals, k=6)
    rng.shuffle(items)
    counts = [str(items.count(animal)) for animal in animals]
    return f"Count {listed(animals)} in {listed(items)}.", listed(counts)


def colours(rng: random.Random) -> tuple[str, str]:
    size = rng.randint(5, 6)
    animals = rng.sample(list(phrases.ANIMALS), size)
    table = dict(zip(animals, rng.sample(list(phrases.COLOURS), size), strict=True))
    asked = rng.sample(animals, size)
    instruction = f"Given {phrases.say(tuple(table.items()), 'en')}, what colours are the "
    return f"{instruction}{listed(asked)}?", listed([table[animal] for animal in asked])


def add_to_each(rng: random.Random) -> tuple[str, str]:
    b = rng.randint(0, 60)
    numbers = [a for a in rng.sample(range(100 - b), 8) if in_train("addition", a, b)][:4]
    sums = listed([str(a + b) for a in numbers])
    return f"Add {b} to each of {listed([str(a) for a in numbers])}.", sums


def subtract_from_each(rng: random.Random) -> tuple[str, str]:
    b = rng.randint(0, 60)
    numbers = [a for a in rng.sample(range(b, 100), 8) if in_train("subtraction", a, b)][:4]
    differences = listed([str(a - b) for a in numbers])
    return f"Subtract {b} from each of {listed([str(a) for a in numbers])}.", differences


def find_line(rng: random.Random) -> tuple[str, str]:
    """The last step of a multiple-choice question: which letter stands before the answer."""
    words = rng.choice((phrases.ANIMALS, phrases.FRUITS, phrases.COLOURS, range(100)))
    choices = [str(word) for word in rng.sample(list(words), len(LETTERS))]
    right = rng.randrange(len(LETTERS))
    lines = [f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=True)]
    return "\n".join([f"Find {choices[right]}.", *lines, "Answer:"]), LETTERS[right]


def in_train(kind: str, a: int, b: int) -> bool:
    return part_of(Problem(kind, {"a": str(a), "b": str(b)}, "")) == "train"


def listed(items: list[str]) -> str:
    return phrases.say(tuple(items), "en")
