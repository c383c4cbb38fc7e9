"""Load the questions to ask from a file, a URL or the tiny world, each with its id."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anima_exp.config import AnsweringConfig
from anima_exp.data import download, readers
from anima_exp.data.file_rows import FileRow, read_rows
from anima_exp.errors import DataError
from anima_exp.events import warn

# A row of an answers file has FastChat's form, with the answer as `text`, or QLoRA's, whose `text`
# is the question. In FastChat's newer files a question has `turns` and an answer has `choices`.
_GENERATED = ("generation_truncated", "generation")
# Where a model begins to write the next chat itself, qlora's eval_gpt_review.py cuts its answer.
_NEXT_CHAT = "A chat between a curious human and an artificial intelligence"


def first_turn(row: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the row with the text of its first turn as `text`, and whether there are more turns.

    A row without turns, or with turns that are no texts, is returned as it is.
    """
    turns, others = row.get("turns"), False
    choices = row.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        turns, others = choices[0].get("turns"), len(choices) > 1
    if "text" in row or not isinstance(turns, list) or not turns or not isinstance(turns[0], str):
        return dict(row), False
    return {**row, "text": turns[0]}, others or len(turns) > 1


def first_turn_alone(rows: int, place: str) -> str:
    """What to tell of a file whose rows have several turns."""
    return f"{place}: {rows:,} rows have several turns; only the first turn of each is used."


def answer_field(row: Container[str]) -> str:
    return next((name for name in _GENERATED if name in row), "text")


def answer_text(field: str, text: str) -> str:
    """What of `field`'s text is the answer."""
    return text.split(_NEXT_CHAT)[0] if field in _GENERATED else text


TINY = {"tiny_zh": "zh", "tiny_en": "en"}  # unseen tasks of the embedded world
TINY_QUESTIONS = 80  # as many as Vicuna's
_TINY_SEED = 1  # data=sample draws its held-out rows with 0


@dataclass(frozen=True)
class Question:
    id: int | str
    text: str  # as it is asked, to the letter
    category: str = ""
    reference: str | None = None  # the one right answer, where there is one
    turns: bool = False  # it has more turns, which are not asked


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
        file = readers.find(place, key=key)
    found = _read(file, place, config)[:most]
    if turns := sum(question.turns for question in found):
        warn(first_turn_alone(turns, f"{key}={place}"))
    return found


def _read(file: Path, place: str, config: AnsweringConfig) -> list[Question]:
    try:
        return _questions(read_rows(file, place), place, translated=config.translated)
    except DataError as error:  # a file from the network is told by its address
        raise DataError(str(error).replace(str(file), place)) from error


def _questions(rows: Iterable[FileRow], place: str, *, translated: bool) -> list[Question]:
    found: dict[str, Question] = {}
    first: dict[str, str] = {}
    for row in rows:
        question = _question(row, translated=translated)
        name = str(question.id)
        if name in found:
            raise DataError(
                f"{row.where}: question_id {name} is already used in {first[name]}. "
                "Give each question its own id."
            )
        found[name], first[name] = question, row.where
    if not found:
        raise DataError(f"{place} contains no questions.")
    return list(found.values())


def _question(row: FileRow, *, translated: bool) -> Question:
    values, turns = first_turn(row.values)
    row = FileRow(row.where, values)
    key = "translation" if translated else "text"
    if translated and key not in row.values and "text" in row.values:
        raise DataError(
            f"{row.where}: field '{key}' is missing. Use translated=false to ask field 'text'."
        )
    identity, text = row.identifier("question_id"), row.text(key)
    reference = row.optional("reference")
    for field, value in ((key, text), ("reference", reference)):
        if value is not None and not value.strip():
            raise DataError(f"{row.where}: field '{field}' is empty.")
    return Question(identity, text, row.optional("category") or "", reference, turns)


def _tiny(count: int, language: str) -> list[Question]:
    from anima_exp.tiny.world import sample_rows

    rows = sample_rows(count, language=language, seed=_TINY_SEED, part="test")
    return [
        Question(number, row["instruction"], row["kind"], row["output"])
        for number, row in enumerate(rows, start=1)
    ]
