"""Define the content of the report on a data set, which the terminal and the page show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from anima_exp.data.report.lengths import recommended
from anima_exp.data.rows import Int32Array


@dataclass(frozen=True)
class Limit:
    """A setting that limits the length of rows, and the lengths that it limits."""

    key: str
    value: int
    lengths: Int32Array  # before the limit

    @property
    def recommended(self) -> int:
        """The value that keeps most rows complete."""
        return recommended(self.lengths)


@dataclass(frozen=True)
class TokenCount:
    """How many tokens of the data set come from one side."""

    label: str
    tokens: int
    trained: bool


@dataclass(frozen=True)
class Part:
    """Tokens of a row that come from one side, as text."""

    text: str
    style: str  # system, user, tool, history, prompt, ending, or answer
    label: str
    tokens: int
    trained: bool
    message: int = -1  # its number in the conversation, from 1; -1: several, or none


@dataclass(frozen=True)
class ShownRow:
    """A row as the model reads it."""

    location: str  # file and row
    heading: str  # row
    reason: str  # why this row is shown
    description: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class DataReport:
    """Everything that the report says about one data set."""

    name: str
    size: str  # how much was read, and how
    facts: Mapping[str, str]  # lines by heading
    tokens: Sequence[TokenCount]
    lengths: Mapping[str, Int32Array]  # of rows and of their parts, by name
    limits: Sequence[Limit]  # none if nothing is cut off
    limits_title: str
    limit_columns: tuple[str, str]  # the headings of rows and tokens beyond a limit
    kept: str  # what the recommended limits keep complete: "98% of the rows"
    problems: Mapping[str, int]  # how many rows have each
    remarks: Mapping[str, str]  # lines by heading
    skipped: Sequence[str]  # the first rows that were skipped, with their location
    counts: Mapping[str, int]  # the large numbers at the head of the page
    rows: Sequence[ShownRow] = field(default_factory=list)
    split_error: str | None = None  # why no rows can be held out

    @property
    def trained_share(self) -> float:
        """The proportion of the tokens that the loss is computed on."""
        total = sum(one.tokens for one in self.tokens)
        return sum(one.tokens for one in self.tokens if one.trained) / max(total, 1)

    @property
    def recommendation(self) -> str:
        """The recommended limits as settings."""
        return " ".join(f"{one.key}={one.recommended}" for one in self.limits)
