"""Files of answers -> who answered which question, and how.

A row is FastChat's (question_id, text or choices, model_id, answer_id), a generation of QLoRA's
(question_id, text = the question, generation or generation_truncated), or ours: FastChat's with
question, category and reference.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from anima_exp import schema_version
from anima_exp.answers.text import answer_field, answer_in, first_turn, first_turn_alone
from anima_exp.data.file_rows import FileRow, read
from anima_exp.errors import DataError
from anima_exp.results.short_id import short_id
from anima_exp.terminal import tell


@dataclass(frozen=True)
class Answer:
    """What `model` answered; what its row says about the question, or None."""

    model: str
    question_id: int | str
    answer_id: str
    text: str
    question: str | None
    category: str | None
    reference: str | None
    where: str


Player = dict[str, Answer]  # question -> answer; questions 1 and "1" are the same


def read_answers(paths: list[str]) -> dict[str, Player]:
    """Model -> its answers, in the order of the files.

    Raises:
        DataError: a file or row that cannot be read, a model's second answer to a question, or
            fewer than two models.
    """
    players: dict[str, Player] = {}
    for path, name in zip(paths, _names(paths), strict=True):
        turns = 0
        for row in read(path, key="answers"):
            values, more = first_turn(row.values)
            turns, row = turns + more, FileRow(row.where, values)
            answer = _answer(row, name)
            own = players.setdefault(answer.model, {})
            if before := own.get(str(answer.question_id)):
                raise DataError(
                    f"{row.where}: a second answer of model '{answer.model}' to question "
                    f"{answer.question_id}; the first is in {before.where}. Remove one, or give "
                    "them different model_id."
                )
            own[str(answer.question_id)] = answer
        if turns:
            tell(first_turn_alone(turns, f"answers={path}"))
    if len(players) < 2:
        raise DataError(
            f"answers={','.join(paths)} are all of one model, '{next(iter(players))}'; "
            "a pair needs two. Add a file, or a model_id to its rows."
        )
    return players


def _names(paths: list[str]) -> list[str]:
    """What to call a model whose rows do not say: its file, or folder and file."""
    stems = Counter(Path(path).stem for path in paths)
    return [
        stem
        if stems[stem := Path(path).stem] == 1
        else f"{Path(path).absolute().parent.name}-{stem}"
        for path in paths
    ]


def _answer(row: FileRow, name: str) -> Answer:
    schema_version.refuse_newer(row.values, row.where, schema_version.ANSWERS)
    field = answer_field(row.values)
    text = answer_in(field, row.text(field))
    question = row.optional("question")
    if field != "text" and question is None:
        question = row.optional("text")
    return Answer(
        model=row.name("model_id") or row.name("model") or name,
        question_id=row.identifier("question_id"),
        answer_id=row.optional("answer_id") or short_id(text),
        text=text,
        question=question,
        category=row.optional("category"),
        reference=row.optional("reference"),
        where=row.where,
    )
