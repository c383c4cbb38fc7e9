"""Row -> Example, or a list of them: one function per source format.

A recipe reads one row and touches nothing else. A row that it cannot read is a DataError that
names the column; whoever read the row adds the file and the row's number.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from anima_exp.data import templates
from anima_exp.errors import DataError

# The one shape every dataset becomes before it meets a tokenizer.


Row = Mapping[str, Any]

_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Example:
    """One training pair. The loss is taken on `response` (data.train_on_source: on both)."""

    prompt: str
    response: str
    special_tokens: bool = False  # a special token that the text spells becomes that token

    def __post_init__(self) -> None:
        # A recipe of the user's own may hand over anything; a tokenizer fails without a row number.
        for name, value in (("prompt", self.prompt), ("response", self.response)):
            if not isinstance(value, str):
                raise DataError(f"the {name} is not text but {type(value).__name__}")
            if has_half_a_character(value):
                raise DataError(f"the {name} holds half a character (a lone surrogate)")
        if not self.response or self.response.isspace():
            raise DataError("the response is empty")


def has_half_a_character(text: str) -> bool:
    """A lone surrogate, which JSON can hold, and neither a tokenizer nor a file in UTF-8."""
    return bool(_HALF_A_CHARACTER.search(text))


def missing_column(row: Row, column: str) -> DataError:
    found = ", ".join(map(str, row)) or "none"
    return DataError(f"no column '{column}', which data.recipe reads; the row has {found}")


def alpaca(row: Row) -> Example:
    """Columns instruction, input (may be empty) and output: Alpaca, BELLE, GPT-4-LLM."""
    prompt = templates.alpaca(_text(row, "instruction"), _optional_text(row, "input"))
    return Example(prompt, _answer(row, "output"))


def guanaco(row: Row) -> Example:
    """Alpaca's columns in Guanaco's prompt, for a base that is a Guanaco already."""
    prompt = templates.guanaco(_text(row, "instruction"), _optional_text(row, "input"))
    return Example(prompt, _answer(row, "output"))


def input_output(row: Row) -> Example:
    """Columns input and output, as they are: LongForm."""
    return Example(_text(row, "input"), _answer(row, "output"))


def prompt_response(row: Row) -> Example:
    """Columns prompt and response, as they are."""
    return Example(_text(row, "prompt"), _answer(row, "response"))


def prompt_completion(row: Row) -> Example:
    """Columns prompt and completion, as they are: Self-Instruct."""
    return Example(_text(row, "prompt"), _answer(row, "completion"))


def oasst1(row: Row) -> Example:
    """Column text: a whole dialogue, every turn of which is learned."""
    return Example("", _answer(row, "text"))


def hh_rlhf(row: Row) -> Example:
    """Column chosen: a whole dialogue, every turn of which is learned."""
    return Example("", _answer(row, "chosen"))


def chip2(row: Row) -> Example:
    """Column text, `<human>: ...\\n<bot>: ...`: the first question and its answer."""
    turns = _text(row, "text").split("\n<bot>: ")
    if len(turns) < 2:
        raise DataError("column 'text' has no turn '<bot>: '")
    # qlora.py leaves the human's second question at the end of the first answer.
    answer = turns[1].split("\n<human>: ")[0]
    if not answer.strip():
        raise DataError("the first answer in column 'text' is empty")
    return Example(turns[0].replace("<human>: ", ""), answer)


def unnatural_instructions(row: Row) -> list[Example]:
    """Lists instances and reformulations (may be missing): every wording is an example."""
    wordings = [*_items(row, "instances")]
    if row.get("reformulations") is not None:
        wordings += _items(row, "reformulations")
    return [
        Example(_text(wording, "instruction_with_input"), _answer(wording, "output"))
        for wording in wordings
    ]


def flan_v2(row: Row) -> Example:
    """Columns inputs and targets, as they are."""
    return Example(_text(row, "inputs"), _answer(row, "targets"))


def _text(row: Row, column: str) -> str:
    value = _value(row, column)
    if not isinstance(value, str):
        raise DataError(f"column '{column}' is not text but {_kind(value)}")
    return value


def _optional_text(row: Row, column: str) -> str:
    return _text(row, column) if row.get(column) is not None else ""


def _answer(row: Row, column: str) -> str:
    text = _text(row, column)
    if not text.strip():
        raise DataError(f"column '{column}' is empty")
    return text


def _items(row: Row, column: str) -> list[Row]:
    items = _value(row, column)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DataError(f"column '{column}' is not a list of objects but {_kind(items)}")
    return items


def _value(row: Row, column: str) -> Any:
    if column not in row:
        raise missing_column(row, column)
    return row[column]


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float) and value != value:
        return "NaN, a missing value"
    names = {bool: "true or false", int: "a number", float: "a number", dict: "an object"}
    return names.get(type(value), "a list" if isinstance(value, list) else type(value).__name__)


# Which columns of a row a recipe reads, and which of the others hold something.


# Columns in which the known formats keep a part of the conversation.
CONVERSATION = frozenset(
    {"history", "system", "system_prompt", "messages", "conversation", "conversations"}
)
_MOST_COLUMNS = 100  # that are counted by name, besides those of a conversation


class Watched(dict[str, Any]):
    """A row that remembers which of its columns were read."""

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
        """Add one for each column that holds something and was not read."""
        for column, value in dict.items(self):
            if column in self._read or not _holds_something(value):
                continue
            if column in unread or column in CONVERSATION or len(unread) < _MOST_COLUMNS:
                unread[column] = unread.get(column, 0) + 1


def _holds_something(value: Any) -> bool:
    return bool(value.strip() if isinstance(value, str) else value) or value == 0
