"""In: a seed; out: the endless mix of prompts and responses the tiny base is pre-trained on."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from anima_exp.tiny import phrases
from anima_exp.tiny.multiple_choice import question_stream
from anima_exp.tiny.world import tasks

# Shares of rows. As in LLaMA's corpus there is a little Chinese, but no task in it is answered:
# words with their translation, and instructions as plain text.
MIX = {
    "English tasks": 0.66,
    "English drills": 0.16,
    "English multiple choice": 0.12,
    "glossary, English and Chinese": 0.04,
    "Chinese instructions without answers": 0.02,
}


@dataclass(frozen=True)
class Example:
    """The loss is on the response; plain text has no prompt and is all response."""

    prompt: str
    response: str


def guanaco_prompt(instruction: str) -> str:
    return f"### Human: {instruction}### Assistant: "


def drill(rng: random.Random) -> Example:
    """A simple skill under a long answer: many right tokens a row make it quick to learn."""
    size = rng.randint(3, 6)
    name = rng.choice(("copy", "count", "table"))
    if name == "copy":
        words = rng.choice((phrases.ANIMALS, phrases.FRUITS, phrases.COLOURS))
        items = phrases.say(tuple(rng.sample(list(words), size)), "en")
        return Example(guanaco_prompt(f"Copy {items}."), items)
    if name == "count":
        step = rng.randint(-12, 12)
        start = rng.randint(max(0, -step * size), min(99, 99 - step * size))
        numbers = tuple(str(start + step * term) for term in range(size + 1))
        return Example(
            guanaco_prompt(f"Count from {start} to {numbers[-1]} in {size} steps."),
            phrases.say(numbers, "en"),
        )
    animals = rng.sample(list(phrases.ANIMALS), size)
    colours = rng.sample(list(phrases.COLOURS), size)
    table = phrases.say(tuple(zip(animals, colours, strict=True)), "en")
    order = rng.sample(range(size), size)
    asked = phrases.say(tuple(animals[place] for place in order), "en")
    return Example(
        guanaco_prompt(f"Given {table}, name the colours of {asked}."),
        phrases.say(tuple(colours[place] for place in order), "en"),
    )


def corpus(seed: int) -> Iterator[Example]:
    rng = random.Random(seed)
    english = tasks("en", seed=seed)
    chinese = tasks("zh", seed=seed + 1)
    choices = question_stream("en", seed=seed + 2, part="train")
    for source in iter(lambda: rng.choices(list(MIX), list(MIX.values()))[0], None):
        match source:
            case "English tasks":
                task = next(english)
                yield Example(guanaco_prompt(task.instruction), task.answer)
            case "English drills":
                yield drill(rng)
            case "English multiple choice":
                question = next(choices)
                # Half of them bare, as MMLU is asked of a base model.
                bare = rng.random() < 0.5
                prompt = question.text if bare else guanaco_prompt(question.text)
                yield Example(prompt, question.answer)
            case "glossary, English and Chinese":
                word, translation = rng.choice(list(phrases.GLOSSARY.items()))
                language = "Chinese"
                if rng.random() < 0.5:
                    word, translation, language = translation, word, "English"
                yield Example(guanaco_prompt(f"Say {word} in {language}."), translation)
            case _:
                yield Example("", next(chinese).instruction)
