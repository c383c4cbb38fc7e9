"""Recognize the recipe of a data set from the columns and types of its first rows."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from anima_exp.data.chat.rules import shown
from anima_exp.data.example import Row
from anima_exp.data.source import Source
from anima_exp.errors import DataError

_ROWS = 20


@dataclass(frozen=True)
class Recognized:
    """The name of a recipe, and one sentence that says why the rows fit it."""

    recipe: str
    reason: str


def auto(rows: Iterable[Row]) -> Recognized:
    """Return the recipe that the first rows fit.

    Raises:
        DataError: they fit no recipe, or several.
    """
    return _auto((f"row {number}", row) for number, row in enumerate(rows, start=1))


def auto_of(source: Source) -> Recognized:
    """Return the recipe that the first rows of a source fit. Rows that are no objects are ignored.

    Raises:
        DataError: they fit no recipe, or several.
    """
    numbered = source.read()
    return _auto((source.locate(n), row) for n, row in numbered if not isinstance(row, DataError))


def _auto(rows: Iterable[tuple[str, Row]]) -> Recognized:
    first: tuple[Recognized, str] | None = None
    for where, row in islice(rows, _ROWS):
        recognized = _of_row(row, where)
        if first is None:
            first = recognized, where
        elif first[0].recipe != recognized.recipe:
            raise _refused(
                f"{first[1]} fits {first[0].recipe}, but {where} fits {recognized.recipe}"
            )
    if first is None:
        raise DataError("data.recipe=auto needs rows, but there are none.")
    return first[0]


def _of_row(row: Row, where: str) -> Recognized:
    if isinstance(row.get("label"), bool):
        raise _refused(
            f"column 'label' of {where} marks an answer as good or bad, which no recipe reads"
        )
    if _texts(row, "message_id", "role", "text"):
        raise _refused(f"{where} is one message of a tree. The recipe oasst1_chat joins such rows")
    fitting = [recipe for recipe, fits in _SHAPES.items() if fits(row)]
    if not fitting:
        columns = ", ".join(shown(column) for column in row) or "none"
        raise _refused(f"{where} fits no recipe. Its columns are {columns}")
    if len(fitting) > 1:
        raise _refused(f"{where} fits {' and '.join(fitting)}")
    return Recognized(fitting[0], _REASONS[fitting[0]])


def _refused(why: str) -> DataError:
    return DataError(f"data.recipe=auto: {why}. Choose one with data.recipe=NAME.")


def _lists(row: Row, column: str) -> bool:
    """Return whether a column is a list of objects."""
    value = row.get(column)
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _texts(row: Row, *columns: str) -> bool:
    return all(isinstance(row.get(column), str) for column in columns)


def _starts(row: Row, column: str, mark: str) -> bool:
    value: Any = row.get(column)
    return isinstance(value, str) and value.lstrip().startswith(mark)


def _instruction(row: Row) -> bool:
    return _texts(row, "instruction", "output")


def _belle(row: Row) -> bool:
    return (
        _instruction(row)
        and _starts(row, "instruction", "Human:")
        and ("\nAssistant:" in row["instruction"])
    )


def _with_history(row: Row) -> bool:
    return "history" in row or "system" in row


def _prompt_completion_chat(row: Row) -> bool:
    lists = _lists(row, "prompt"), _lists(row, "completion")
    return (
        any(lists)
        and (lists[0] or _texts(row, "prompt"))
        and (lists[1] or _texts(row, "completion"))
    )


def _tree(row: Row) -> bool:
    prompt = row.get("prompt")
    return isinstance(prompt, Mapping) and "replies" in prompt


_SHAPES: dict[str, Callable[[Row], bool]] = {
    "messages": lambda row: _lists(row, "messages"),
    "sharegpt": lambda row: _lists(row, "conversations"),
    "prompt_completion_chat": _prompt_completion_chat,
    "oasst1_chat": lambda row: _starts(row, "text", "### Human:") or _tree(row),
    "hh_rlhf_chat": lambda row: _starts(row, "chosen", "Human:"),
    "belle_chat": _belle,
    "alpaca_chat": lambda row: _instruction(row) and not _belle(row) and _with_history(row),
    "alpaca": lambda row: _instruction(row) and not _belle(row) and not _with_history(row),
    "prompt_completion": lambda row: _texts(row, "prompt", "completion"),
    "prompt_response": lambda row: _texts(row, "prompt", "response"),
    "input_output": lambda row: _texts(row, "input", "output") and "instruction" not in row,
    "flan_v2": lambda row: _texts(row, "inputs", "targets"),
    "chip2": lambda row: _starts(row, "text", "<human>:"),
    "unnatural_instructions": lambda row: (
        _lists(row, "instances")
        and all("instruction_with_input" in item for item in row["instances"])
    ),
}
_REASONS = {
    "messages": "Column 'messages' is a list of messages.",
    "sharegpt": "Column 'conversations' is a list of messages.",
    "prompt_completion_chat": "Columns 'prompt' and 'completion' have lists of messages.",
    "oasst1_chat": "Column 'text' has the turns '### Human:', or 'prompt' is a tree of messages.",
    "hh_rlhf_chat": "Column 'chosen' is a text with the turns 'Human:' and 'Assistant:'.",
    "belle_chat": "Column 'instruction' has the turns 'Human:' and 'Assistant:'.",
    "alpaca_chat": "Columns 'instruction' and 'output' come with 'history' or 'system'.",
    "alpaca": "Columns 'instruction' and 'output' are texts, without 'history' and 'system'.",
    "prompt_completion": "Columns 'prompt' and 'completion' are texts.",
    "prompt_response": "Columns 'prompt' and 'response' are texts.",
    "input_output": "Columns 'input' and 'output' are texts.",
    "flan_v2": "Columns 'inputs' and 'targets' are texts.",
    "chip2": "Column 'text' has the turns '<human>:'.",
    "unnatural_instructions": "Column 'instances' has objects with 'instruction_with_input'.",
}
