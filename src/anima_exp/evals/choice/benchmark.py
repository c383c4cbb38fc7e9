"""A benchmark of multiple choice: subjects, each with questions and worked examples.

`ENTRIES` holds what is known of the published ones beyond their settings (conf/evals/). A dotted
path in `source` names a `Benchmark` of your own, or a function that returns one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from anima_exp.config import benchmark_key
from anima_exp.evals.choice.mmlu_categories import MMLU_CATEGORIES

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


MACRO, MICRO = "macro", "micro"  # the mean over subjects, which is QLoRA's; over questions
_MICRO = f"_{MICRO}"


@dataclass(frozen=True)
class Benchmark:
    """A benchmark; an entry has no subjects before it is read."""

    name: str  # mmlu, cmmlu, ceval, choices, or one of evals.benchmarks
    subjects: tuple[Subject, ...] = ()
    categories: Mapping[str, str] = field(default_factory=dict)  # subject -> category
    means: tuple[str, ...] = (MACRO, MICRO)  # which are scores

    @property
    def key(self) -> str:
        """The group of its settings."""
        return benchmark_key(self.name)

    @property
    def scores(self) -> dict[str, str]:
        """The scores that it gives, and which mean each is: mmlu is macro, mmlu_micro micro."""
        return {self.name + (_MICRO if mean == MICRO else ""): mean for mean in self.means}


ENTRIES = {
    one.name: one
    for one in (
        Benchmark("choices", means=(MACRO,)),  # its subjects are of one size: both means are one
        Benchmark("mmlu", categories=MMLU_CATEGORIES),
        Benchmark("cmmlu"),
        Benchmark("ceval"),
    )
}


def entry(name: str) -> Benchmark:
    """Return the entry of a benchmark; one of the user's own has the defaults."""
    return ENTRIES.get(name, Benchmark(name))


def of_score(score: str, names: Iterable[str]) -> Benchmark | None:
    """Return the entry of that benchmark among `names` which gives `score`."""
    return next((one for name in names if score in (one := entry(name)).scores), None)
