"""Convert a row of each source format to an example: one function for each format.

A recipe reads one row and has no side effects. For a row that it cannot convert it raises a
DataError that names the column. The caller adds the file and the row's number.
"""

from typing import Any

from anima_exp.data import templates
from anima_exp.data.example import Example, Row, missing_column
from anima_exp.errors import DataError


def alpaca(row: Row) -> Example:
    """Read the columns instruction, input (may be empty) and output: Alpaca, BELLE, GPT-4-LLM."""
    prompt = templates.alpaca(_text(row, "instruction"), _optional_text(row, "input"))
    return Example(prompt, _answer(row, "output"))


def guanaco(row: Row) -> Example:
    """Read Alpaca's columns into Guanaco's prompt, for a base that is a Guanaco already."""
    prompt = templates.guanaco(_text(row, "instruction"), _optional_text(row, "input"))
    return Example(prompt, _answer(row, "output"))


def input_output(row: Row) -> Example:
    """Read the columns input and output unchanged: LongForm."""
    return Example(_text(row, "input"), _answer(row, "output"))


def prompt_response(row: Row) -> Example:
    """Read the columns prompt and response unchanged."""
    return Example(_text(row, "prompt"), _answer(row, "response"))


def prompt_completion(row: Row) -> Example:
    """Read the columns prompt and completion unchanged: Self-Instruct."""
    return Example(_text(row, "prompt"), _answer(row, "completion"))


def oasst1(row: Row) -> Example:
    """Read a dialogue from the column text. Every turn of it is trained on: OASST1."""
    return Example("", _answer(row, "text"))


def hh_rlhf(row: Row) -> Example:
    """Read a dialogue from the column chosen. Every turn of it is trained on: HH-RLHF."""
    return Example("", _answer(row, "chosen"))


def chip2(row: Row) -> Example:
    """Read the first question and its answer from the column text: Chip2.

    The text has the form `<human>: ...\\n<bot>: ...`.
    """
    turns = _text(row, "text").split("\n<bot>: ")
    if len(turns) < 2:
        raise DataError("column 'text' has no turn '<bot>: '")
    # Unlike qlora.py, which leaves the human's second question at the end of the first answer.
    answer = turns[1].split("\n<human>: ")[0]
    if not answer.strip():
        raise DataError("the first answer in column 'text' is empty")
    return Example(turns[0].replace("<human>: ", ""), answer)


def unnatural_instructions(row: Row) -> list[Example]:
    """Read every item of the lists instances and reformulations (may be missing) as an example."""
    wordings = [*_items(row, "instances")]
    if row.get("reformulations") is not None:
        wordings += _items(row, "reformulations")
    return [
        Example(_text(wording, "instruction_with_input"), _answer(wording, "output"))
        for wording in wordings
    ]


def flan_v2(row: Row) -> Example:
    """Read the columns inputs and targets unchanged: FLAN v2."""
    return Example(_text(row, "inputs"), _answer(row, "targets"))


def metamathqa(row: Row) -> Example:
    """Read the columns query and response (MetaMathQA), or question and answer (GSM8K)."""
    question, answer = ("query", "response") if "query" in row else ("question", "answer")
    return Example(templates.metamathqa(_text(row, question)), _answer(row, answer))


def text(row: Row) -> Example:
    """Read a document from the column text. Every token of it is trained on."""
    return Example("", _answer(row, "text"))


def _text(row: Row, column: str) -> str:
    value = _value(row, column)
    if not isinstance(value, str):
        raise DataError(f"column '{column}' is {_kind(value)}, not text")
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
        raise DataError(f"column '{column}' is {_kind(items)}, not a list of objects")
    return items


def _value(row: Row, column: str) -> Any:
    if column not in row:
        raise missing_column(row, column)
    return row[column]


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, float) and value != value:
        return "NaN, a missing value"
    names = {bool: "true or false", int: "a number", float: "a number", dict: "an object"}
    return names.get(type(value), "a list" if isinstance(value, list) else type(value).__name__)
