"""Define a multiple-choice benchmark: subjects, each with questions and worked examples.

`ENTRIES` describes the published benchmarks beyond their settings (conf/evals/). A dotted path in
`source` names your own `Benchmark`, or a function that returns one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from anima_exp.config import benchmark_key
from anima_exp.errors import DataError

# The four categories of MMLU's 57 subjects (Hendrycks et al. 2021, arXiv 2009.03300).
_SUBJECTS = {
    "stem": """
        abstract_algebra astronomy college_biology college_chemistry college_computer_science
        college_mathematics college_physics computer_security
        conceptual_physics electrical_engineering elementary_mathematics high_school_biology
        high_school_chemistry high_school_computer_science high_school_mathematics
        high_school_physics high_school_statistics machine_learning
    """,
    "humanities": """
        formal_logic high_school_european_history high_school_us_history high_school_world_history
        international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy
        prehistory professional_law world_religions
    """,
    "social_sciences": """
        econometrics high_school_geography high_school_government_and_politics
        high_school_macroeconomics high_school_microeconomics high_school_psychology
        human_sexuality professional_psychology public_relations security_studies sociology
        us_foreign_policy
    """,
    "other": """
        anatomy business_ethics clinical_knowledge college_medicine global_facts human_aging
        management marketing medical_genetics miscellaneous nutrition professional_accounting
        professional_medicine virology
    """,
}
MMLU_CATEGORIES = {
    subject: category for category, subjects in _SUBJECTS.items() for subject in subjects.split()
}


LETTERS = "ABCDEFGHIJ"


@dataclass(frozen=True)
class Question:
    """A question, its choices and the right one."""

    text: str
    choices: tuple[str, ...]
    answer: int  # the number of the right choice, from 0

    @property
    def letter(self) -> str:
        """The letter of the right choice."""
        return LETTERS[self.answer]


@dataclass(frozen=True)
class Subject:
    """A subject of a benchmark with its questions and worked examples."""

    name: str  # the name of its file: abstract_algebra
    title: str  # its name in a prompt: abstract algebra, 农学
    questions: tuple[Question, ...]
    examples: tuple[Question, ...] = ()  # the dev split, in its order


MACRO, MICRO = "macro", "micro"  # the mean over subjects, which is QLoRA's; over questions
_MICRO = f"_{MICRO}"


@dataclass(frozen=True)
class Benchmark:
    """A benchmark. An entry of ENTRIES has no subjects until it is read."""

    name: str  # mmlu, cmmlu, ceval, choices, or one of evals.benchmarks
    subjects: tuple[Subject, ...] = ()
    categories: Mapping[str, str] = field(default_factory=dict)  # subject -> category
    means: tuple[str, ...] = (MACRO, MICRO)  # which are scores

    @property
    def key(self) -> str:
        """The group of settings: evals.mmlu."""
        return benchmark_key(self.name)

    @property
    def scores(self) -> dict[str, str]:
        """The scores, and which mean each is: mmlu is macro, mmlu_micro is micro."""
        return {self.name + (_MICRO if mean == MICRO else ""): mean for mean in self.means}


ENTRIES = {
    one.name: one
    for one in (
        Benchmark("choices", means=(MACRO,)),  # its subjects have one size, so both means are equal
        Benchmark("mmlu", categories=MMLU_CATEGORIES),
        Benchmark("cmmlu"),
        Benchmark("ceval"),
    )
}


def entry(name: str) -> Benchmark:
    """Return the entry of a benchmark. That of a user's benchmark has the defaults."""
    return ENTRIES.get(name, Benchmark(name))


def of_score(score: str, names: Iterable[str]) -> Benchmark | None:
    """Return the entry of the benchmark among `names` that gives `score`, or None."""
    return next((one for name in names if score in (one := entry(name)).scores), None)


Parts = tuple[tuple[Question, ...], tuple[Question, ...]]  # questions, worked examples


def question(cells: Mapping[str, str], where: str) -> Question:
    """Return the question of a row.

    Args:
        cells: question, A, B, ... and answer, which is a letter.
        where: the position of the row, for the error message.

    Raises:
        DataError: if a cell is missing, or the answer is not a letter of a choice.
    """
    missing = [name for name in ("question", "A", "B", "answer") if not cells.get(name, "").strip()]
    if missing:
        alone = missing == ["answer"]
        hint = " The test split may have been published without answers." if alone else ""
        raise DataError(f"{where} has no {missing[0]}.{hint}")
    choices = []
    for letter in LETTERS:
        if not cells.get(letter, "").strip():
            break
        choices.append(cells[letter])
    answer = cells["answer"].strip().upper()
    if answer not in LETTERS[: len(choices)] or len(answer) != 1:
        letters = f"A to {LETTERS[len(choices) - 1]}"
        raise DataError(f"{where}: the answer is '{cells['answer']}', not one of {letters}.")
    return Question(cells["question"], tuple(choices), LETTERS.index(answer))
