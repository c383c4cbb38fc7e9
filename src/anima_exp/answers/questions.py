"""A file, a URL or the tiny world -> the questions to ask, each with its id."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anima_exp.answers import download
from anima_exp.config import AnsweringConfig
from anima_exp.data import files
from anima_exp.errors import DataError

TINY = {"tiny_zh": "zh", "tiny_en": "en"}  # unseen tasks of the embedded world
TINY_QUESTIONS = 80  # as many as Vicuna's
_TINY_SEED = 1  # data=sample draws its held-out rows with 0


@dataclass(frozen=True)
class Question:
    id: int | str
    text: str  # as it is asked, to the letter
    category: str = ""
    reference: str | None = None  # the one right answer, where there is one


def load(place: str, config: AnsweringConfig, *, key: str, cache: Path) -> list[Question]:
    """The first `config.max_questions` questions of `place`, in its order.

    Args:
        key: the setting that holds `place` (questions); it opens the error message.
        cache: a folder in which a file from the network is kept.

    Raises:
        DataError: it cannot be read, or a row is no question, or two have one id.
    """
    most = config.max_questions
    if place in TINY:
        return _tiny(TINY_QUESTIONS if most is None else most, TINY[place])
    if download.is_url(place):
        file = download.fetch(place, key=key, cache=cache, check=lambda f: _read(f, place, config))
    else:
        file = files.find(place, key=key)
    return _read(file, place, config)[:most]


def _read(file: Path, place: str, config: AnsweringConfig) -> list[Question]:
    try:
        return _questions(files.rows(file), files.unit(file), place, translated=config.translated)
    except DataError as error:  # a file from the network is told by its address
        raise DataError(str(error).replace(str(file), place)) from error


def _questions(
    rows: Iterable[files.NumberedRow], unit: str, place: str, *, translated: bool
) -> list[Question]:
    found: dict[str, Question] = {}
    first: dict[str, int] = {}
    for number, row in rows:
        where = f"{place}, {unit} {number}"
        if isinstance(row, DataError):
            raise DataError(f"{where}: {row}")
        question = _question(row, where, translated=translated)
        name = str(question.id)
        if name in found:
            raise DataError(
                f"{where}: question_id {name} is that of {unit} {first[name]} too. "
                "Give each question an id of its own."
            )
        found[name], first[name] = question, number
    if not found:
        raise DataError(f"{place} holds no question.")
    return list(found.values())


def _question(row: Any, where: str, *, translated: bool) -> Question:
    key = "translation" if translated else "text"
    for field in ("question_id", key):
        if field not in row:
            hint = " translated=false asks 'text'." if translated and "text" in row else ""
            raise DataError(
                f"{where}: no '{field}'; the row has {', '.join(map(str, row)) or 'nothing'}.{hint}"
            )
    identity, reference = row["question_id"], row.get("reference")
    if isinstance(identity, bool) or not isinstance(identity, int | str):
        raise DataError(f"{where}: question_id={identity} is neither a whole number nor a text.")
    for field, value in ((key, row[key]), ("reference", reference)):
        if value is None and field == "reference":
            continue
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{where}: '{field}' is empty or no text.")
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise DataError(f"{where}: '{field}' holds half a character (a lone surrogate).")
    return Question(identity, row[key], str(row.get("category") or ""), reference)


def _tiny(count: int, language: str) -> list[Question]:
    from anima_exp.tiny.world import sample_rows

    rows = sample_rows(count, language=language, seed=_TINY_SEED, part="test")
    return [
        Question(number, row["instruction"], row["kind"], row["output"])
        for number, row in enumerate(rows, start=1)
    ]
