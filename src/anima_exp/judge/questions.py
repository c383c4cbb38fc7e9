"""A question file, and what the answers' rows say -> the text, category and reference of each."""

from collections.abc import Iterable
from dataclasses import dataclass

from anima_exp.answers.text import first_turn, first_turn_alone
from anima_exp.data.file_rows import FileRow, read
from anima_exp.errors import DataError
from anima_exp.judge.answers import Answer
from anima_exp.terminal import tell


@dataclass(frozen=True)
class Question:
    question_id: int | str
    text: str
    category: str | None
    reference: str | None


def read_questions(path: str) -> dict[str, Question]:
    """Raises DataError: the file or a row cannot be read, or an id stands twice."""
    found: dict[str, Question] = {}
    turns = 0
    for row in read(path, key="questions"):
        values, more = first_turn(row.values)
        turns, row = turns + more, FileRow(row.where, values)
        question = Question(
            question_id=row.identifier("question_id"),
            text=row.text("text"),
            category=row.optional("category"),
            reference=row.optional("reference"),
        )
        if str(question.question_id) in found:
            raise DataError(f"{row.where}: question_id {question.question_id} stands there twice.")
        found[str(question.question_id)] = question
    if turns:
        tell(first_turn_alone(turns, f"questions={path}"))
    return found


def of_answers(answers: Iterable[Answer], known: Question | None) -> Question:
    """The question that these answers are to.

    Raises:
        DataError: nobody knows its text, or two rows disagree about its text or reference.
    """
    answers = list(answers)
    return Question(
        question_id=(known or answers[0]).question_id,
        text=known.text if known else _agreed(answers, "question"),
        category=(known and known.category)
        or next((a.category for a in answers if a.category), None),
        reference=(known and known.reference) or (_agreed(answers, "reference") or None),
    )


def _agreed(answers: list[Answer], field: str) -> str:
    told = [answer for answer in answers if getattr(answer, field) is not None]
    if not told and field == "question":
        raise DataError(
            f"{answers[0].where}: no text of question {answers[0].question_id}. "
            "Give questions=FILE, or rows with a field 'question'."
        )
    for other in told[1:]:
        if getattr(other, field) != getattr(told[0], field):
            raise DataError(
                f"{other.where}: another {field} under question_id {other.question_id} than "
                f"{told[0].where}. Answers to different questions cannot be compared."
            )
    return str(getattr(told[0], field)) if told else ""
