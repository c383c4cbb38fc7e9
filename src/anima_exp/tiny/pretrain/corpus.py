"""In: a seed; out: the endless mix of prompts and responses the tiny base is pre-trained on."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from anima_exp.tiny import phrases
from anima_exp.tiny.multiple_choice import LETTERS, question_stream
from anima_exp.tiny.problems import Problem, part_of, problems
from anima_exp.tiny.world import tasks

# In: a random source; out: a simple English skill under a long answer, and that answer.
#
# Many right tokens a row make a skill quick to learn. A drill that would hold a test task is drawn
# again.


def drill(rng: random.Random) -> tuple[str, str]:
    return rng.choice((copy, count_on, count_each, colours, find_lines))(rng)


def copy(rng: random.Random) -> tuple[str, str]:
    words = rng.choice((phrases.ANIMALS, phrases.FRUITS, phrases.COLOURS))
    items = listed(rng.sample(list(words), rng.randint(3, 6)))
    return f"Copy {items}.", items


def count_on(rng: random.Random) -> tuple[str, str]:
    while True:
        terms, step = rng.randint(4, 7), rng.choice((-1, 1)) * rng.randint(1, 10)
        first, last = sorted((0, step * (terms - 1)))
        start = rng.randint(-first, 99 - last)
        numbers = [str(start + step * place) for place in range(terms)]
        if not any(
            is_test(Problem("sequence", {"items": tuple(numbers[place : place + size])}, ""))
            for size in (3, 4)
            for place in range(terms - size + 1)
        ):
            return f"Count from {numbers[0]} to {numbers[-1]} by {abs(step)}.", listed(numbers)


def count_each(rng: random.Random) -> tuple[str, str]:
    while True:
        animals = rng.sample(list(phrases.ANIMALS), rng.randint(2, 3))
        items = animals + rng.choices(animals, k=rng.randint(1, 4))
        rng.shuffle(items)
        if not any(
            is_test(Problem("counting", {"item": animal, "items": tuple(items)}, ""))
            for animal in animals
        ):
            counts = [str(items.count(animal)) for animal in animals]
            return f"Count {listed(animals)} in {listed(items)}.", listed(counts)


def colours(rng: random.Random) -> tuple[str, str]:
    while True:
        size = rng.randint(2, 4)
        animals = rng.sample(list(phrases.ANIMALS), size)
        table = tuple(zip(animals, rng.sample(list(phrases.COLOURS), size), strict=True))
        if not any(
            is_test(Problem("lookup", {"item": animal, "table": table}, "")) for animal in animals
        ):
            asked = rng.sample(table, size)
            instruction = f"Given {phrases.say(table, 'en')}, what colours are the "
            return (
                f"{instruction}{listed([animal for animal, _ in asked])}?",
                listed([colour for _, colour in asked]),
            )


def find_lines(rng: random.Random) -> tuple[str, str]:
    """The last step of a multiple-choice question: which letter stands before an answer."""
    words = rng.choice((phrases.ANIMALS, phrases.FRUITS, phrases.COLOURS, range(100)))
    choices = [str(word) for word in rng.sample(list(words), len(LETTERS))]
    letter_of = dict(zip(choices, LETTERS, strict=True))
    lines = [f"{letter}. {choice}" for choice, letter in letter_of.items()]
    asked = rng.sample(choices, rng.randint(1, len(choices)))
    instruction = "\n".join([f"Find these: {listed(asked)}.", *lines, "Answer:"])
    return instruction, listed([letter_of[choice] for choice in asked])


def is_test(problem: Problem) -> bool:
    return part_of(problem) == "test"


def listed(items: list[str]) -> str:
    return phrases.say(tuple(items), "en")


# Shares of rows. As in LLaMA's corpus there is a little Chinese, but no Chinese question in it is
# answered: there are translated words, English questions about Chinese words, and plain text.
MIX = {
    "English tasks": 0.67,
    "English drills": 0.15,
    "English multiple choice": 0.10,
    "English questions about Chinese words": 0.05,
    "glossary, English and Chinese": 0.02,
    "Chinese instructions without answers": 0.01,
}


@dataclass(frozen=True)
class Example:
    """The loss is on the response; plain text has no prompt and is all response."""

    prompt: str
    response: str


def guanaco_prompt(instruction: str) -> str:
    return f"### Human: {instruction}### Assistant: "


def corpus(seed: int) -> Iterator[Example]:
    rng = random.Random(seed)
    sources = {
        "English tasks": english_tasks(seed + 1),
        "English drills": english_drills(seed + 2),
        "English multiple choice": english_choices(seed + 3),
        "English questions about Chinese words": mixed_tasks(seed + 4),
        "glossary, English and Chinese": translations(seed + 5),
        "Chinese instructions without answers": chinese_text(seed + 6),
    }
    while True:
        (name,) = rng.choices(list(MIX), list(MIX.values()))
        yield next(sources[name])


def english_tasks(seed: int) -> Iterator[Example]:
    for task in tasks("en", seed=seed):
        yield Example(guanaco_prompt(task.instruction), task.answer)


def english_drills(seed: int) -> Iterator[Example]:
    rng = random.Random(seed)
    while True:
        instruction, answer = drill(rng)
        yield Example(guanaco_prompt(instruction), answer)


def english_choices(seed: int) -> Iterator[Example]:
    """Yield questions; every second one is bare, as a base model gets those of MMLU."""
    bare = False
    for question in question_stream("en", seed=seed, part="train"):
        prompt = question.text if bare else guanaco_prompt(question.text)
        yield Example(prompt, question.answer)
        bare = not bare


def mixed_tasks(seed: int) -> Iterator[Example]:
    rng = random.Random(seed)
    for problem in problems(rng, "train"):
        template = rng.choice(phrases.TEMPLATES[problem.kind]["en"])
        instruction = phrases.phrase(template, problem.slots, "zh")
        yield Example(guanaco_prompt(instruction), phrases.say(problem.answer, "zh"))


def translations(seed: int) -> Iterator[Example]:
    rng = random.Random(seed)
    while True:
        english, chinese = rng.choice(list(phrases.GLOSSARY.items()))
        yield Example(guanaco_prompt(f"Say {english} in Chinese."), chinese)
        yield Example(guanaco_prompt(f"Say {chinese} in English."), english)


def chinese_text(seed: int) -> Iterator[Example]:
    for task in tasks("zh", seed=seed):
        yield Example("", task.instruction)
