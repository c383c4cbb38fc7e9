"""Files of answers -> whose answer each id is, and how long it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anima_exp import schema_version
from anima_exp.answers.text import answer_field, answer_in, first_turn
from anima_exp.elo.fields import identifier, text_of
from anima_exp.elo.names import short
from anima_exp.elo.rows import lines
from anima_exp.errors import DataError
from anima_exp.results.short_id import short_id


@dataclass(frozen=True)
class Answer:
    models: tuple[str, ...]  # spellings of its name: the file's, the row's
    length: int  # characters


def read_answers(paths: Sequence[Path]) -> dict[str, Answer]:
    """By answer id.

    Raises:
        DataError: a file cannot be read, or a row has no text.
    """
    found: dict[str, Answer] = {}
    for path in paths:
        count = 0
        for number, fields in lines(path):
            at = f"{path}, row {number}"
            schema_version.refuse_newer(fields, at, schema_version.ANSWERS)
            text = _text(first_turn(fields)[0], at)
            models = [short(path.stem), text_of(fields, "model_id", at) or ""]
            key = identifier(fields, "answer_id", at) or short_id(text)
            found.setdefault(key, Answer(tuple(filter(None, models)), len(text)))
            count += 1
        if not count:
            raise DataError(f"{path} is empty: no answer in it.")
    return found


def _text(fields: dict[str, Any], at: str) -> str:
    field = answer_field(fields)
    if not isinstance(fields.get(field), str):
        raise DataError(f"{at}: there is no text, generation or generation_truncated.")
    return answer_in(field, fields[field])
