"""Generate the tasks of the tiny world: small tasks with one right answer each."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from anima_exp.errors import ConfigError
from anima_exp.tiny import phrases
from anima_exp.tiny.multiple_choice import question_stream
from anima_exp.tiny.problems import problems

# Every tenth row of a sample is a multiple-choice question.
CHOICE_EVERY = 10
# So many repeats in a row mean that the world has no more tasks.
MOST_REPEATS = 1000


@dataclass(frozen=True)
class Task:
    kind: str
    language: str
    instruction: str
    answer: str


def tasks(language: str, *, seed: int, part: str = "train") -> Iterator[Task]:
    """Yield tasks in a cycle of kinds. The same seed gives the same tasks on every machine."""
    phrases.check_language(language)
    rng = random.Random(seed)
    for problem in problems(rng, part):
        template = rng.choice(phrases.TEMPLATES[problem.kind][language])
        yield Task(
            kind=problem.kind,
            language=language,
            instruction=phrases.phrase(template, problem.slots, language),
            answer=phrases.say(problem.answer, language),
        )


def sample_rows(
    count: int, *, language: str = "zh", seed: int = 0, part: str = "train"
) -> list[dict[str, str]]:
    """Return rows with Alpaca's columns and the kind, without repeated instructions.

    Every tenth row is a multiple-choice question.
    """
    task_stream = tasks(language, seed=seed, part=part)
    choice_stream = question_stream(language, seed=seed, part=part)
    rows: dict[str, dict[str, str]] = {}
    repeats = 0
    while len(rows) < count:
        if (len(rows) + 1) % CHOICE_EVERY == 0:
            question = next(choice_stream)
            kind, instruction, output = "choice", question.text, question.answer
        else:
            task = next(task_stream)
            kind, instruction, output = task.kind, task.instruction, task.answer
        if instruction in rows:
            repeats += 1
            if repeats > MOST_REPEATS:
                raise ConfigError(
                    f"The tiny world has fewer than {count} different rows. Give a smaller number."
                )
            continue
        repeats = 0
        rows[instruction] = {
            "instruction": instruction,
            "input": "",
            "output": output,
            "kind": kind,
        }
    return list(rows.values())
