"""A model to ask: one question, many from a file, or one after another in a terminal."""

from dataclasses import dataclass

from anima_exp.config.evals import AnsweringConfig
from anima_exp.config.setting import setting
from anima_exp.config.use import UseConfig


@dataclass
class GenerateConfig(AnsweringConfig, UseConfig):
    """What `python -m anima_exp.generate` may be told."""

    prompt: str | None = setting(None, "One question, answered on the terminal.")
    questions: str | None = setting(
        None, "A file, a URL, tiny_zh or tiny_en; null without prompt starts a chat."
    )
    out: str | None = setting(None, "File for the answers; null = answers/MODEL.jsonl.")
    beside: list[str] = setting(list, "More runs or adapters to ask, on the same base.")
    compare: bool = setting(False, "The base answers too, with prompt or in the chat.")
