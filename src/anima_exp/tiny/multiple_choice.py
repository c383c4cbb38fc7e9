"""Generate multiple-choice questions of the tiny world, in the form of MMLU."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from anima_exp.tiny import phrases
from anima_exp.tiny.phrases import Value
from anima_exp.tiny.problems import KINDS, Problem, check_part, problems

LETTERS = ("A", "B", "C", "D")
# Parity is left out, because it has only two answers.
SUBJECTS = tuple(kind for kind in KINDS if kind != "parity")


@dataclass(frozen=True)
class Question:
    subject: str
    question: str
    choices: tuple[str, str, str, str]
    answer: str

    @property
    def text(self) -> str:
        """The question in MMLU's form, which the letter of the answer follows."""
        lines = [
            f"{letter}. {choice}" for letter, choice in zip(LETTERS, self.choices, strict=True)
        ]
        return "\n".join([self.question, *lines, "Answer:"])


def questions(language: str, count: int, *, seed: int, part: str = "test") -> list[Question]:
    stream = question_stream(language, seed=seed, part=part)
    return [next(stream) for _ in range(count)]


def question_stream(language: str, *, seed: int, part: str) -> Iterator[Question]:
    """Yield questions without end. In each group of four, each letter is right once."""
    phrases.check_language(language)
    check_part(part)
    rng = random.Random(seed)
    letters: list[str] = []
    for problem in problems(rng, part, SUBJECTS):
        if not letters:
            letters = rng.sample(LETTERS, len(LETTERS))
        yield ask(problem, letters.pop(), language, rng)


def ask(problem: Problem, letter: str, language: str, rng: random.Random) -> Question:
    right = phrases.say(problem.answer, language)
    wrong: list[str] = []
    while len(wrong) < 3:
        choice = phrases.say(distractor(problem, rng), language)
        if choice != right and choice not in wrong:
            wrong.append(choice)
    wrong.insert(LETTERS.index(letter), right)
    first, second, third, fourth = wrong
    template = rng.choice(phrases.TEMPLATES[problem.kind][language])
    question = phrases.phrase(template, problem.slots, language)
    return Question(problem.kind, question, (first, second, third, fourth), letter)


def distractor(problem: Problem, rng: random.Random) -> Value:
    """Return an answer of the right form. `ask` filters out right or repeated ones."""
    items = problem.slots.get("items", ())
    table = problem.slots.get("table", ())
    match problem.kind:
        case "extreme" | "position" if len(items) >= 4:
            return rng.choice([item for item in items if isinstance(item, str)])
        case "position":
            return rng.choice([*phrases.FRUITS])
        case "extreme":
            return str(rng.randrange(100))
        case "lookup" if len(table) >= 4:
            return rng.choice([entry[1] for entry in table])
        case "lookup":
            return rng.choice([*phrases.COLOURS])
        case "reversal":
            letters = str(problem.answer).split()
            return " ".join(rng.sample(letters, len(letters)))
        case "sorting":
            digits = [str(digit) for digit in problem.answer]
            return tuple(rng.sample(digits, len(digits)))
        case _:
            near = int(str(problem.answer)) + rng.choice((-10, -3, -2, -1, 1, 2, 3, 10))
            return str(max(near, 0))
