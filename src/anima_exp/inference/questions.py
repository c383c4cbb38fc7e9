"""Load the questions to ask from a file, a URL or the tiny world, each with its id."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anima_exp.config import AnsweringConfig
from anima_exp.data import download, readers
from anima_exp.data.chat.conversation import Conversation
from anima_exp.data.file_rows import FileRow, read_rows
from anima_exp.errors import DataError
from anima_exp.events import warn
from anima_exp.inference import conversations

# A row of an answers file has FastChat's form, with the answer as `text`, or QLoRA's, whose `text`
# is the question. In FastChat's newer files a question has `turns` and an answer has `choices`.
_GENERATED = ("generation_truncated", "generation")
# QLoRA's eval_gpt_review.py cuts an answer where the model begins to write the next chat itself.
_NEXT_CHAT = "A chat between a curious human and an artificial intelligence"


def first_turn(row: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the row with the text of its first turn as `text`, and whether there are more turns.

    A row without turns, or with turns that are not texts, is returned unchanged.
    """
    turns, others = row.get("turns"), False
    choices = row.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        turns, others = choices[0].get("turns"), len(choices) > 1
    if "text" in row or not isinstance(turns, list) or not turns or not isinstance(turns[0], str):
        return dict(row), False
    return {**row, "text": turns[0]}, others or len(turns) > 1


def first_turn_warning(rows: int, file: str) -> str:
    """Return the warning about a file whose rows have several turns."""
    return f"{file}: {rows:,} rows have several turns; only the first turn of each is used."


def answer_field(row: Container[str]) -> str:
    """Return the name of the field that has the answer."""
    return next((name for name in _GENERATED if name in row), "text")


def answer_text(field: str, text: str) -> str:
    """Return the part of a field's text that is the answer."""
    return text.split(_NEXT_CHAT)[0] if field in _GENERATED else text


TINY = {"tiny_zh": "zh", "tiny_en": "en"}  # unseen tasks of the embedded world
TINY_QUESTIONS = 80  # as many as the Vicuna benchmark has
_TINY_SEED = 1  # data=sample draws its held-out rows with seed 0


@dataclass(frozen=True)
class Question:
    """One question of a file."""

    id: int | str
    text: str
    category: str = ""
    reference: str | None = None  # the only right answer, if there is one
    turns: bool = False  # whether the file has more turns, which are ignored
    conversation: Conversation | None = None  # with earlier turns, if the row has messages


def load(source: str, config: AnsweringConfig, *, key: str, cache: Path) -> list[Question]:
    """Return the first `config.max_questions` questions of a file, a URL or the tiny world.

    Args:
        key: the setting that has the source, for the error message.
        cache: the cache folder, which keeps downloaded files.

    Raises:
        DataError: if the source cannot be read, a row is not a question, or two have the same id.
    """
    limit = config.max_questions
    if source in TINY:
        return _tiny(TINY_QUESTIONS if limit is None else limit, TINY[source])
    if download.is_url(source):
        file = download.fetch(
            source, key=key, cache=cache, check=lambda file: _read(file, source, config)
        )
    else:
        file = readers.find(source, key=key)
    questions = _read(file, source, config)[:limit]
    if turns := sum(question.turns for question in questions):
        warn(first_turn_warning(turns, f"{key}={source}"))
    return questions


def _read(file: Path, source: str, config: AnsweringConfig) -> list[Question]:
    try:
        return _questions(read_rows(file, source), source, translated=config.translated)
    except DataError as error:  # name a downloaded file by its URL
        raise DataError(str(error).replace(str(file), source)) from error


def _questions(rows: Iterable[FileRow], source: str, *, translated: bool) -> list[Question]:
    by_id: dict[str, Question] = {}
    first: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        question = _of_messages(row, number, translated=translated)
        question = question or _question(row, translated=translated)
        name = str(question.id)
        if name in by_id:
            raise DataError(
                f"{row.where}: question_id {name} is already used in {first[name]}. "
                "Give each question its own id."
            )
        by_id[name], first[name] = question, row.where
    if not by_id:
        raise DataError(f"{source} contains no questions.")
    return list(by_id.values())


def _of_messages(row: FileRow, number: int, *, translated: bool) -> Question | None:
    """Return the question of a row with a conversation, which may have no id; else None."""
    try:
        conversation = conversations.of_row(row.values)
    except DataError as error:
        raise DataError(f"{row.where}: {error}.") from error
    if conversation is None:
        return None
    if translated:
        raise DataError(f"{row.where}: a conversation has no translation. Use translated=false.")
    identity = number if row.values.get("question_id") is None else row.identifier("question_id")
    return Question(
        identity,
        conversations.question_of(conversation),
        row.optional("category") or "",
        row.optional("reference"),
        conversation=conversation,
    )


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
