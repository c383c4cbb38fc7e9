"""A row of an answers file -> where its answer stands, and how much of that is the answer.

A row is FastChat's, with the answer as `text`, or a generation of QLoRA's, whose `text` is the
question. FastChat's present files hold dialogues: a question has `turns`, an answer `choices`.
"""

from collections.abc import Container, Mapping
from typing import Any

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


def answer_in(field: str, text: str) -> str:
    """What of `field`'s text is the answer."""
    return text.split(_NEXT_CHAT)[0] if field in _GENERATED else text
