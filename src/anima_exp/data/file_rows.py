"""Read the rows of a file with their positions, and check the fields that a caller needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anima_exp.data import readers
from anima_exp.data.example import has_lone_surrogate
from anima_exp.errors import DataError
from anima_exp.system.terminal import printable


@dataclass(frozen=True)
class FileRow:
    """One row of a file; `where` names its file and number in error messages."""

    where: str
    values: dict[str, Any]

    def text(self, field: str) -> str:
        """Return the text of a field.

        Raises:
            DataError: if the field is missing, is not text, or cannot be written as UTF-8.
        """
        value = self.values.get(field)
        if not isinstance(value, str):
            fields = ", ".join(map(str, self.values)) or "nothing"
            what = f"is {_kind(value)}, not text" if field in self.values else "is missing"
            raise DataError(f"{self.where}: field '{field}' {what}; the row has {fields}.")
        if has_lone_surrogate(value):
            raise DataError(
                f"{self.where}: field '{field}' contains half a character (a lone surrogate)."
            )
        return value

    def optional(self, field: str) -> str | None:
        """Return the text of a field; None if it is missing or null."""
        return None if self.values.get(field) is None else self.text(field)

    def name(self, field: str) -> str | None:
        """Return a text of one line for tables, file names and messages; None if it is missing."""
        value = self.optional(field)
        if value and printable(value).splitlines() != [value]:
            raise DataError(
                f"{self.where}: field '{field}' contains a line break or a control character."
            )
        return value

    def identifier(self, field: str) -> int | str:
        """Return a whole number or a text of one line.

        Raises:
            DataError: if the field is missing or has another type.
        """
        value = self.values.get(field)
        if isinstance(value, float) and value.is_integer():  # pandas writes ids with gaps so
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
            what = f"is {_kind(value)}" if field in self.values else "is missing"
            if isinstance(value, float):
                what = f"is {value:g}"
            raise DataError(f"{self.where}: field '{field}' {what}. Use a whole number or a text.")
        return value if isinstance(value, int) else str(self.name(field))


def read(path: str, *, key: str) -> Iterator[FileRow]:
    """Yield every row of the file at `path`.

    Args:
        key: the setting that gave the path, for the error message.

    Raises:
        DataError: if there is no such file, a row cannot be read, or there are no rows.
    """
    row = None
    for row in read_rows(readers.find(path, key=key), path):
        yield row
    if row is None:
        raise DataError(f"{key}={path} contains no rows.")


def read_rows(file: Path, name: str) -> Iterator[FileRow]:
    """Yield every row of `file`, which error messages call `name`.

    Raises:
        DataError: if the file or a row cannot be read.
    """
    unit = readers.row_or_line(file)
    for number, row in readers.rows(file):
        where = f"{name}, {unit} {number}"
        if isinstance(row, DataError):
            raise DataError(f"{where}: {row}.")
        yield FileRow(where, dict(row))


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "empty", type(None): "null", bool: "a boolean"}
    return names.get(type(value), "a number")
