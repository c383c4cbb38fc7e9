"""Read the rows of a local file (JSON, JSON lines, CSV, TSV, Parquet), each with its number.

A file that cannot be read raises DataError. A row that cannot be read is yielded as a DataError in
place of the row, so that the caller can count it and continue.
"""

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from anima_exp.config.lookup import closest
from anima_exp.data import file_checks
from anima_exp.data.example import Row
from anima_exp.errors import DataError, first_line
from anima_exp.system.paths import expanded, is_file, is_folder

NumberedRow = tuple[int, Row | DataError]
Reader = Callable[[Path], Iterator[NumberedRow]]

_BOM = b"\xef\xbb\xbf"
MOST_BYTES = 16 * 2**20  # of one row; a tokenizer takes about 70 bytes for each of them


def find(path: str, *, key: str) -> Path:
    """The file at `path`, its ending known. `key` (data.path) opens the error message."""
    file = expanded(path, key)
    if is_folder(file):
        raise DataError(f"{key}={path} is a folder. Give one of its files.")
    if not is_file(file):
        raise DataError(f"{key}={path}: no such file. {_close_name(file)}")
    if known_suffix(file) is None:
        raise DataError(
            f"{key}={path}: cannot read a file that ends in '{file.suffix}'. "
            f"Known endings: {', '.join(_READERS)}."
        )
    return file


def row_or_line(file: Path) -> str:
    """What the number of a row counts: lines where an editor shows them, else rows."""
    return "row" if _reader(file) in (_json, _parquet) else "line"


def rows(file: Path) -> Iterator[NumberedRow]:
    """Every row with its number, from 1."""
    for number, row in _readable(file, _reader(file)):
        yield number, row if isinstance(row, DataError) or not _too_large(row) else _over()


def json_lines(file: Path) -> Iterator[NumberedRow]:
    """Every row of a file of JSON lines, whatever its name ends in."""
    yield from _readable(file, _jsonl)


def _readable(file: Path, reader: Reader) -> Iterator[NumberedRow]:
    try:
        if reader is not _parquet:
            with _open(file) as stream:
                seen = stream.read(file_checks.SEEN_BYTES)
            kinds = {"listed": reader is _json, "lines": reader is _jsonl, "commas": reader is _csv}
            file_checks.check(seen, file, **kinds)
        yield from reader(file)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{file} cannot be read: {reason}.") from error


def _json(file: Path) -> Iterator[NumberedRow]:
    try:
        found = file_checks.parse(_decode(_read(file), file))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{file} is not JSON: {error.msg} at {where}.") from error
    except ValueError as error:  # it may be JSON, but none that Python can hold
        raise DataError(f"{file} cannot be read: it contains {error}.") from error
    if not isinstance(found, list):
        lists = [k for k, v in found.items() if isinstance(v, list)] if type(found) is dict else []
        hint = f" Save the list under '{lists[0]}' as a file of its own." if lists else ""
        raise DataError(f"{file} must contain a list of objects, not one {_kind(found)}.{hint}")
    for number, row in enumerate(found, start=1):
        if (name := file_checks.find(row)) is not None:
            yield number, DataError(file_checks.message(name))
        else:
            yield number, row if isinstance(row, dict) else DataError(_not_an_object(row))


def _jsonl(file: Path) -> Iterator[NumberedRow]:
    # Read as bytes: a file of bytes splits at "\n" alone, while str.splitlines also splits at
    # U+2028 and others, which are legal inside a JSON text.
    with _open(file) as lines:
        offset = 0
        for number, line in enumerate(_lines(lines), start=1):
            start = offset
            offset += len(line)
            if len(line) > MOST_BYTES:
                yield number, _over()
                continue
            if number == 1 and line.startswith(_BOM):
                line, start = line.removeprefix(_BOM), len(_BOM)
            if line.strip():
                yield number, _json_line(line, start)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; of one that is too long, only as much as shows that it is."""
    while line := stream.readline(MOST_BYTES + 1):
        rest = line
        while len(rest) > MOST_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MOST_BYTES + 1)
        yield line


def _json_line(line: bytes, start: int) -> Row | DataError:
    try:
        row = file_checks.parse(line.decode("utf-8").rstrip("\r\n"))
    except UnicodeDecodeError as error:
        return DataError(_not_utf8(error, start))
    except json.JSONDecodeError as error:
        return DataError(f"broken JSON: {error.msg} at column {error.colno}")
    except ValueError as error:
        return DataError(f"broken JSON: {error}")
    if (name := file_checks.find(row)) is not None:
        return DataError(file_checks.message(name))
    return row if isinstance(row, dict) else DataError(_not_an_object(row))


def _csv(file: Path, delimiter: str = ",") -> Iterator[NumberedRow]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # its default refuses texts above 128 KiB
    text = _decode(_read(file), file)
    # Cut at "\n" with the ends kept, so that a quoted field keeps its own line breaks.
    lines = (line + "\n" for line in text.split("\n"))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        if twice := [name for name in header if name and header.count(name) > 1]:
            raise DataError(f"{file}: the header names the column '{twice[0]}' twice.")
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
    ".ndjson": _jsonl,
    ".json.gz": _json,
    ".jsonl.gz": _jsonl,
    ".ndjson.gz": _jsonl,
    ".csv": _csv,
    ".tsv": _tsv,
    ".csv.gz": _csv,
    ".tsv.gz": _tsv,
    ".parquet": _parquet,
}


def known_suffix(file: Path) -> str | None:
    """Which of the known endings a name has, `.jsonl.gz` included; None = another one."""
    return next((known for known in _READERS if file.name.lower().endswith(known)), None)


def _reader(file: Path) -> Reader:
    kind = known_suffix(file)
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
            lines = _lines(stream)
            first, more = next(lines, b""), next(lines, b"").strip()
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


def _too_large(row: Row) -> bool:
    return sum(len(value) for value in row.values() if isinstance(value, str)) > MOST_BYTES


def _over() -> DataError:
    return DataError(f"it is larger than {MOST_BYTES / 2**20:.0f} MiB, the limit for one row")


def _not_utf8(error: UnicodeDecodeError, start: int) -> str:
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at offset {start + error.start}"


def _not_an_object(value: Any) -> str:
    return f"it is one {_kind(value)}, not an object with named columns"


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", type(None): "null"}
    return names.get(type(value), "number")


def _close_name(file: Path) -> str:
    if not file.parent.is_dir():
        return f"There is no folder {file.parent} either."
    names = sorted(entry.name for entry in file.parent.iterdir() if known_suffix(entry))
    stems = {name.partition(".")[0]: name for name in names}  # all endings are alike
    # `bb` may be `b` with a letter too many: names of files are short.
    if close := closest(file.name.partition(".")[0], stems, cutoff=0.66):
        return f"Did you mean '{stems[close]}'?"
    return f"That folder has {', '.join(names[:5])}." if names else "That folder has no data files."
