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
    "English tasks": 0.80,
    "English multiple choice": 0.13,
    "glossary, English and Chinese": 0.04,
    "Chinese instructions without answers": 0.03,
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
    english = tasks("en", seed=seed)
    chinese = tasks("zh", seed=seed + 1)
    choices = question_stream("en", seed=seed + 2, part="train")
    for source in iter(lambda: rng.choices(list(MIX), list(MIX.values()))[0], None):
        match source:
            case "English tasks":
                task = next(english)
                yield Example(guanaco_prompt(task.instruction), task.answer)
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
