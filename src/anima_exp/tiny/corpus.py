"""In: a seed; out: the endless mix of prompts and responses the tiny base is pre-trained on."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from anima_exp.tiny import phrases
from anima_exp.tiny.drills import drill
from anima_exp.tiny.multiple_choice import question_stream
from anima_exp.tiny.problems import problems
from anima_exp.tiny.world import tasks

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
    """Every other one bare, as MMLU is asked of a base model."""
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
