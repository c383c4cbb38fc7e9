"""A local file -> its rows, each with its number; one line of error for a file that has none.

A file that cannot be read at all is a DataError. A single row that cannot is one too, but it is
handed on in the row's place, so that the caller may count it and go on.
"""

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any, cast

from anima_exp import json_text
from anima_exp.data.example import Row
from anima_exp.errors import DataError, first_line
from anima_exp.paths import is_file, is_folder

NumberedRow = tuple[int, Row | DataError]
Reader = Callable[[Path], Iterator[NumberedRow]]

_BOM = b"\xef\xbb\xbf"


def find(path: str, *, key: str) -> Path:
    """The file at `path`, its ending known. `key` (data.path) opens the error message."""
    file = Path(path).expanduser()
    if is_folder(file):
        raise DataError(f"{key}={path} is a folder. Give one of its files.")
    if not is_file(file):
        raise DataError(f"{key}={path}: no such file. {_close_name(file)}")
    if ending(file) is None:
        raise DataError(
            f"{key}={path}: cannot read a file that ends in '{file.suffix}'. "
            f"Known endings: {', '.join(_READERS)}."
        )
    return file


def unit(file: Path) -> str:
    """What the number of a row counts: lines where an editor shows them, else rows."""
    return "row" if _reader(file) in (_json, _parquet) else "line"


def rows(file: Path) -> Iterator[NumberedRow]:
    """Every row with its number, from 1."""
    yield from _readable(file, _reader(file))


def json_lines(file: Path) -> Iterator[NumberedRow]:
    """Every row of a file of JSON lines, whatever its name ends in."""
    yield from _readable(file, _jsonl)


def _readable(file: Path, reader: Reader) -> Iterator[NumberedRow]:
    try:
        _check_format(file, reader)
        yield from reader(file)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{file} cannot be read: {reason}.") from error


_SEEN_BYTES = 2**20  # of a file's beginning


def _check_format(file: Path, reader: Reader) -> None:
    """Raise DataError for a file that is of another kind than its name says, as a whole.

    Row by row every row would be bad, and each for a reason that leads astray.
    """
    if reader is _parquet:
        return
    with _open(file) as stream:
        seen = stream.read(_SEEN_BYTES)
    if not seen.removeprefix(_BOM).strip():
        raise DataError(f"{file} is empty.")
    if seen.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in seen[:4]:
        raise DataError(f"{file} is UTF-16, not UTF-8. Save it as UTF-8.")
    text = seen.removeprefix(_BOM).lstrip()
    first, _, rest = text.partition(b"\n")
    if reader is _jsonl:
        if text.startswith(b"[") and not _is_json(first):
            list_of_rows = True
        else:
            list_of_rows = isinstance(_parsed(first), list) and not rest.strip()
        if list_of_rows:
            raise DataError(
                f"{file} holds one JSON list, but a file of JSON lines has one object on each "
                "line. Rename it to .json."
            )
        if text.startswith(b"{") and not _is_json(first) and _is_several_lines(text):
            raise DataError(
                f"{file} has objects over several lines, but a file of JSON lines has one object "
                "on each line. Write each row on one line, or all rows as one list in a .json file."
            )
    for mark, name in ((b";", "semicolons"), (b"\t", "tabs")):
        if reader is _csv and mark in first and b"," not in first:
            raise DataError(
                f"{file}: its header is separated by {name}, not by commas. Save it with commas as "
                "separators" + (", or name it .tsv." if mark == b"\t" else ".")
            )


def _parsed(text: bytes) -> Any:
    try:
        return json_text.parse(text)
    except ValueError:
        return None


def _is_json(text: bytes) -> bool:
    try:
        json_text.parse(text)
        return True
    except ValueError:
        return False


def _is_several_lines(text: bytes) -> bool:
    """Whether the text begins with one whole object that goes on behind its first line."""
    try:
        _, end = json.JSONDecoder().raw_decode(text.decode("utf-8", errors="ignore"))
    except (ValueError, RecursionError):
        return False
    return "\n" in text.decode("utf-8", errors="ignore")[:end]


def _json(file: Path) -> Iterator[NumberedRow]:
    try:
        found = json_text.parse(_decode(_read(file), file))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{file} is not JSON: {error.msg} at {where}.") from error
    except ValueError as error:  # it may be JSON, but none that Python can hold
        raise DataError(f"{file} cannot be read: it holds {error}.") from error
    if not isinstance(found, list):
        lists = [k for k, v in found.items() if isinstance(v, list)] if type(found) is dict else []
        hint = f" Save the list under '{lists[0]}' as a file of its own." if lists else ""
        raise DataError(f"{file} must hold a list of objects, not one {_kind(found)}.{hint}")
    for number, row in enumerate(found, start=1):
        yield number, row if isinstance(row, dict) else DataError(_not_an_object(row))


def _jsonl(file: Path) -> Iterator[NumberedRow]:
    # Read as bytes: a file of bytes splits at "\n" alone, while str.splitlines also splits at
    # U+2028 and others, which are legal inside a JSON text.
    with _open(file) as lines:
        offset = 0
        for number, line in enumerate(lines, start=1):
            start = offset
            offset += len(line)
            if number == 1 and line.startswith(_BOM):
                line, start = line.removeprefix(_BOM), len(_BOM)
            if line.strip():
                yield number, _json_line(line, start)


def _json_line(line: bytes, start: int) -> Row | DataError:
    try:
        row = json_text.parse(line.decode("utf-8").rstrip("\r\n"))
    except UnicodeDecodeError as error:
        return DataError(_not_utf8(error, start))
    except json.JSONDecodeError as error:
        return DataError(f"broken JSON: {error.msg} at column {error.colno}")
    except ValueError as error:
        return DataError(f"broken JSON: {error}")
    return row if isinstance(row, dict) else DataError(_not_an_object(row))


def _csv(file: Path, delimiter: str = ",") -> Iterator[NumberedRow]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # its default refuses texts above 128 KiB
    text = _decode(_read(file), file)
    # Cut at "\n" with the ends kept, so that a quoted field keeps its own line breaks.
    lines = (line + "\n" for line in text.split("\n"))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        start = reader.line_num + 1
        for fields in reader:
            if fields and len(fields) == len(header):
                yield start, dict(zip(header, fields, strict=True))
            elif fields:
                yield start, DataError(f"fields: {len(fields)}, but the header has {len(header)}")
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{file}, line {start}: broken quotes: {error}.") from error


def _tsv(file: Path) -> Iterator[NumberedRow]:
    yield from _csv(file, delimiter="\t")


def _parquet(file: Path) -> Iterator[NumberedRow]:
    from pyarrow import ArrowException  # type: ignore[import-untyped]
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    number = 0
    try:
        with ParquetFile(file) as table:
            for batch in table.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except ArrowException as error:
        raise DataError(f"{file} is not Parquet: {first_line(error)}") from error


_READERS: dict[str, Reader] = {
    ".json": _json,
    ".jsonl": _jsonl,
    ".json.gz": _json,
    ".jsonl.gz": _jsonl,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}


def ending(file: Path) -> str | None:
    """Which of the known endings a name has, `.jsonl.gz` included; None = another one."""
    return next((known for known in _READERS if file.name.lower().endswith(known)), None)


def _reader(file: Path) -> Reader:
    kind = ending(file)
    assert kind is not None, "find() was not asked"
    # BELLE, and many after it, call JSON lines .json.
    return _jsonl if _READERS[kind] is _json and _holds_lines(file) else _READERS[kind]


def _holds_lines(file: Path) -> bool:
    """Is the first line a whole object, and not the last?"""
    try:
        with _open(file) as stream:
            if stream.read(4).removeprefix(_BOM)[:1] != b"{":
                return False
            stream.seek(0)
            first = stream.readline()
            more = stream.readline().strip()
    except (OSError, EOFError, zlib.error):
        return False  # rows() will meet the same fault, and say so
    return bool(more) and isinstance(_json_line(first.removeprefix(_BOM), 0), dict)


def _open(file: Path) -> IO[bytes]:
    if file.name.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(file, "rb"))
    return file.open("rb")


def _read(file: Path) -> bytes:
    with _open(file) as stream:
        return stream.read()


def _decode(content: bytes, file: Path) -> str:
    try:
        return content.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        start = len(_BOM) if content.startswith(_BOM) else 0
        raise DataError(f"{file} is {_not_utf8(error, start)}. Save it as UTF-8.") from error


def _not_utf8(error: UnicodeDecodeError, start: int) -> str:
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at offset {start + error.start}"


def _not_an_object(value: Any) -> str:
    return f"not an object with named columns but one {_kind(value)}"


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", type(None): "null"}
    return names.get(type(value), "number")


def _close_name(file: Path) -> str:
    if not file.parent.is_dir():
        return f"There is no folder {file.parent} either."
    names = sorted(entry.name for entry in file.parent.iterdir() if ending(entry))
    close = get_close_matches(file.name, names, n=1)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"That folder has {', '.join(names[:5])}." if names else "That folder has no data files."
