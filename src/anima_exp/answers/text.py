"""A row of an answers file -> where its answer stands, and how much of that is the answer.

A row is FastChat's, with the answer as `text`, or a generation of QLoRA's, whose `text` is the
question.
"""

from collections.abc import Container

_GENERATED = ("generation_truncated", "generation")
# Where a model begins to write the next chat itself, qlora's eval_gpt_review.py cuts its answer.
_NEXT_CHAT = "A chat between a curious human and an artificial intelligence"


def answer_field(row: Container[str]) -> str:
    return next((name for name in _GENERATED if name in row), "text")


def answer_in(field: str, text: str) -> str:
    """What of `field`'s text is the answer."""
    return text.split(_NEXT_CHAT)[0] if field in _GENERATED else text
