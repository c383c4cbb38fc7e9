"""A model to ask: many questions from a file, or one after another in a terminal."""

from dataclasses import dataclass

from anima_exp.config.evals import AnsweringConfig
from anima_exp.config.use import UseConfig


@dataclass
class GenerateConfig(AnsweringConfig, UseConfig):
    """What `python -m anima_exp.generate` may be told."""

    questions: str | None = None  # a file, a URL, tiny_zh, tiny_en; null = a chat
    out: str | None = None  # the answers' file; null = answers/MODEL.jsonl
    compare: bool = False  # in the chat: base and adapter answer every question
