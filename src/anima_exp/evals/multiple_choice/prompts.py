"""Build the prompts of multiple-choice questions: one function for each benchmark.

A prompt has a header that names the subject, worked examples, and the question. The strings of
`mmlu` equal those of QLoRA exactly.
"""

from collections.abc import Callable
from dataclasses import dataclass

from anima_exp.evals.multiple_choice.benchmark import LETTERS, Question, Subject


@dataclass(frozen=True)
class Style:
    """The prompt of a benchmark."""

    header: Callable[[Subject], str]
    ask: Callable[[Question], str]  # the question, up to where the answer follows
    answered: Callable[[Question], str]  # the question with its answer, as a worked example
    cue: str  # the end of the question, which the tokens of the answer depend on
    before_answer: str = " "  # the text between the cue and the answer


def mmlu() -> Style:
    """Return MMLU's prompt as in QLoRA's files, with their two spaces after "about"."""
    return _lettered(
        header=lambda subject: (
            "The following are multiple choice questions (with answers) about  "
            f"{subject.title}.\n\n"
        ),
        cue="Answer:",
    )


def cmmlu() -> Style:
    """Return CMMLU's prompt (arXiv 2306.09212)."""
    return _lettered(
        header=lambda subject: (
            f"以下是关于{subject.title}的单项选择题，请直接给出正确答案的选项。\n\n"
        ),
        opening="题目：",
        cue="答案是：",
        before_answer="",
    )


def ceval() -> Style:
    """Return C-Eval's prompt (arXiv 2305.08322)."""
    return _lettered(
        header=lambda subject: (
            f"以下是中国关于{subject.title}考试的单项选择题，请选出其中的正确答案。\n\n"
        ),
        cue="答案：",
        before_answer="",
    )


def bare() -> Style:
    """Return a prompt of the question only, for scoring complete answers as replies to it."""
    return Style(
        header=lambda subject: "",
        ask=lambda question: question.text,
        answered=lambda question: f"{question.text} {question.choices[question.answer]}\n\n",
        cue="?",
    )


def _lettered(
    *, header: Callable[[Subject], str], cue: str, opening: str = "", before_answer: str = " "
) -> Style:
    def ask(question: Question) -> str:
        lines = [opening + question.text]
        lines += [f"{LETTERS[place]}. {text}" for place, text in enumerate(question.choices)]
        return "\n".join([*lines, cue])

    def answered(question: Question) -> str:
        return f"{ask(question)}{before_answer}{question.letter}\n\n"

    return Style(header, ask, answered, cue, before_answer)
