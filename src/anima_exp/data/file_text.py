"""Open a data file, compressed or not, and decode it; the lines of error for what it holds."""

import gzip
from pathlib import Path
from typing import IO, Any, cast

from anima_exp.data.example import Row
from anima_exp.errors import DataError

BOM = b"\xef\xbb\xbf"
MOST_BYTES = 16 * 2**20  # of one row; a tokenizer takes about 70 bytes for each of them


def open_bytes(file: Path) -> IO[bytes]:
    if file.name.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(file, "rb"))
    return file.open("rb")


def read_bytes(file: Path) -> bytes:
    with open_bytes(file) as stream:
        return stream.read()


def decode(content: bytes, file: Path) -> str:
    try:
        return content.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        start = len(BOM) if content.startswith(BOM) else 0
        raise DataError(f"{file} is {not_utf8(error, start)}. Save it as UTF-8.") from error


def too_large(row: Row) -> bool:
    return sum(len(value) for value in row.values() if isinstance(value, str)) > MOST_BYTES


def over() -> DataError:
    return DataError(f"it has more than {MOST_BYTES / 2**20:.0f} MiB, too much for one row")


def not_utf8(error: UnicodeDecodeError, start: int) -> str:
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at offset {start + error.start}"


def not_an_object(value: Any) -> str:
    return f"not an object with named columns but one {kind(value)}"


def kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", type(None): "null"}
    return names.get(type(value), "number")
