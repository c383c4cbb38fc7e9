"""A benchmark of multiple choice: subjects, each with questions and worked examples."""

from collections.abc import Mapping
from dataclasses import dataclass, field

LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class Question:
    text: str
    choices: tuple[str, ...]
    answer: int  # which of the choices is right, from 0

    @property
    def letter(self) -> str:
        return LETTERS[self.answer]


@dataclass(frozen=True)
class Subject:
    name: str  # as the file is called: abstract_algebra
    title: str  # as a prompt says it: abstract algebra, 农学
    questions: tuple[Question, ...]
    examples: tuple[Question, ...] = ()  # the dev split, in its order


@dataclass(frozen=True)
class Benchmark:
    name: str  # mmlu, cmmlu, ceval, choices
    subjects: tuple[Subject, ...]
    categories: Mapping[str, str] = field(default_factory=dict)  # subject -> category

    @property
    def count(self) -> int:
        return sum(len(subject.questions) for subject in self.subjects)
