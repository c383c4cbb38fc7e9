"""Define a training example, and count the columns of a row that a recipe does not read."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from anima_exp.errors import DataError

Row = Mapping[str, Any]


_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Example:
    """A prompt and its response. The loss is computed on the response.

    With data.train_on_source it is computed on both.
    """

    prompt: str
    response: str
    special_tokens: bool = False  # encode special tokens in the texts as tokens

    def __post_init__(self) -> None:
        # A user's recipe may return anything, and a tokenizer's error would name no row.
        for name, value in (("prompt", self.prompt), ("response", self.response)):
            if not isinstance(value, str):
                raise DataError(f"the {name} is not text but {type(value).__name__}")
            if has_lone_surrogate(value):
                raise DataError(f"the {name} contains half a character (a lone surrogate)")
        if not self.response or self.response.isspace():
            raise DataError("the response is empty")


def has_lone_surrogate(text: str) -> bool:
    """Return whether a text has a lone surrogate, which JSON allows but UTF-8 does not."""
    return bool(_SURROGATE.search(text))


def missing_column(row: Row, column: str) -> DataError:
    """Return the error of a row without a column that the recipe reads."""
    columns = ", ".join(map(str, row)) or "none"
    return DataError(f"no column '{column}', which data.recipe reads; the row has {columns}")


# Columns in which the known formats store parts of the conversation.
CONVERSATION = frozenset(
    {"history", "system", "system_prompt", "messages", "conversation", "conversations"}
)


_MAX_COLUMNS = 100  # counted by name, besides those of a conversation


class TrackedRow(dict[str, Any]):
    """A row that records which of its columns a recipe reads."""

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self._read: set[Any] = set()

    def __getitem__(self, column: str) -> Any:
        self._read.add(column)
        return super().__getitem__(column)

    def get(self, column: str, default: Any = None) -> Any:
        self._read.add(column)
        return super().get(column, default)

    def pop(self, column: str, *default: Any) -> Any:
        self._read.add(column)
        return super().pop(column, *default)

    def __iter__(self) -> Iterator[str]:
        self._read |= dict.keys(self)
        return super().__iter__()

    def keys(self) -> Any:
        self._read |= dict.keys(self)
        return super().keys()

    def values(self) -> Any:
        self._read |= dict.keys(self)
        return super().values()

    def items(self) -> Any:
        self._read |= dict.keys(self)
        return super().items()

    def copy(self) -> dict[str, Any]:
        return dict(self.items())

    def count_unread(self, unread: dict[str, int]) -> None:
        """Add one to the count of each column that is not empty and was not read."""
        for column, value in dict.items(self):
            if column in self._read or not _has_content(value):
                continue
            if column in unread or column in CONVERSATION or len(unread) < _MAX_COLUMNS:
                unread[column] = unread.get(column, 0) + 1


def _has_content(value: object) -> bool:
    return bool(value.strip() if isinstance(value, str) else value) or value == 0
