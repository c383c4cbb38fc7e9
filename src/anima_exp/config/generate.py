"""A model to ask: one question, many from a file, or one after another in a terminal."""

from dataclasses import dataclass, field

from anima_exp.config.evals import AnsweringConfig
from anima_exp.config.use import UseConfig


@dataclass
class GenerateConfig(AnsweringConfig, UseConfig):
    """What `python -m anima_exp.generate` may be told."""

    prompt: str | None = None  # one question, answered on the terminal
    questions: str | None = None  # a file, a URL, tiny_zh, tiny_en; null, without prompt = a chat
    out: str | None = None  # the answers' file; null = answers/MODEL.jsonl
    beside: list[str] = field(default_factory=list)  # more runs or adapters, on the same base
    compare: bool = False  # with prompt or in the chat: the base answers too
