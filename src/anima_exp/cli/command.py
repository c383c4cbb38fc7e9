"""Describe one command of the program. This module imports nothing heavy."""

from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True)
class Command:
    """One command of the program."""

    name: str
    module: str  # of this package; its function `main` runs the command
    what: str  # one sentence
    example: str  # arguments
    examples: tuple[tuple[str, str], ...]  # more arguments, and what they do
    settings: tuple[str, ...]  # the ones that --help shows
    schema: str  # module:class
    config: str | None = None  # conf/NAME.yaml; None for a command without Hydra
    groups: tuple[str, ...] = ()  # that --help shows
    words: str = ""  # the list setting that words without `=` belong to
    details: str = ""  # a paragraph for --help


def schema_of(command: Command) -> type:
    """Return the dataclass of a command's settings, which imports its module."""
    module, _, name = command.schema.partition(":")
    made: type = getattr(import_module(module), name)
    return made
