"""Read the rows of a local file (JSON, JSON lines, CSV, TSV, Parquet), each with its number.

A .txt file is one row with the column text.

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
from typing import IO, cast

from anima_exp.config.lookup import closest
from anima_exp.data import file_checks
from anima_exp.data.example import Row
from anima_exp.errors import DataError, first_line
from anima_exp.system.paths import expanded, is_file, is_folder

NumberedRow = tuple[int, Row | DataError]
Reader = Callable[[Path], Iterator[NumberedRow]]

_BOM = b"\xef\xbb\xbf"
MAX_BYTES = 16 * 2**20  # of one row; a tokenizer needs about 70 bytes of memory for each


def find(path: str, *, key: str, plain_text: bool = False) -> Path:
    """Return the file at `path` if its format is known.

    Args:
        key: the setting that gave the path, for the error message.
        plain_text: accept a .txt file too.

    Raises:
        DataError: if there is no such file, or its name has an unknown ending.
    """
    file = expanded(path, key)
    if is_folder(file):
        raise DataError(f"{key}={path} is a folder. Give one of its files.")
    if not is_file(file):
        raise DataError(f"{key}={path}: no such file. {_close_name(file)}")
    if known_suffix(file, plain_text=plain_text) is None:
        known = [ending for ending in _READERS if plain_text or ending != _TXT]
        raise DataError(
            f"{key}={path}: cannot read a file that ends in '{file.suffix}'. "
            f"Known endings: {', '.join(known)}."
        )
    return file


def row_or_line(file: Path) -> str:
    """Return what a row's number counts: `line` if an editor shows the same number, else `row`."""
    return "row" if _reader(file) in (_json, _parquet, _txt) else "line"


def rows(file: Path) -> Iterator[NumberedRow]:
    """Yield every row with its number, from 1.

    Raises:
        DataError: if the file cannot be read. A bad row is yielded as a DataError instead.
    """
    for number, row in _readable(file, _reader(file)):
        yield number, row if isinstance(row, DataError) or not _too_large(row) else _size_error()


def json_lines(file: Path) -> Iterator[NumberedRow]:
    """Yield every row of a file of JSON lines with its number, even if its name ends otherwise."""
    yield from _readable(file, _jsonl)


def _readable(file: Path, reader: Reader) -> Iterator[NumberedRow]:
    try:
        if reader is not _parquet:
            with _open(file) as stream:
                head = stream.read(file_checks.HEAD_BYTES)
            kinds = {"listed": reader is _json, "lines": reader is _jsonl, "commas": reader is _csv}
            file_checks.check(head, file, **kinds)
        yield from reader(file)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{file} cannot be read: {reason}.") from error


def _json(file: Path) -> Iterator[NumberedRow]:
    try:
        content = file_checks.parse(_decode(_read(file), file))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"{file} is not JSON: {error.msg} at {where}.") from error
    except ValueError as error:  # JSON that Python cannot represent
        raise DataError(f"{file} cannot be read: it contains {error}.") from error
    if not isinstance(content, list):
        items = content.items() if type(content) is dict else ()
        lists = [key for key, value in items if isinstance(value, list)]
        hint = f" Save the list under '{lists[0]}' as a separate file." if lists else ""
        raise DataError(f"{file} must contain a list of objects, not one {_kind(content)}.{hint}")
    for number, row in enumerate(content, start=1):
        if (name := file_checks.duplicate_name(row)) is not None:
            yield number, DataError(file_checks.message(name))
        else:
            yield number, row if isinstance(row, dict) else DataError(_not_an_object(row))


def _jsonl(file: Path) -> Iterator[NumberedRow]:
    # The file is read as bytes, which are split only at "\n". str.splitlines would also split at
    # characters such as U+2028, which may appear inside a JSON text.
    with _open(file) as lines:
        offset = 0
        for number, line in enumerate(_lines(lines), start=1):
            start = offset
            offset += len(line)
            if len(line) > MAX_BYTES:
                yield number, _size_error()
                continue
            if number == 1 and line.startswith(_BOM):
                line, start = line.removeprefix(_BOM), len(_BOM)
            if line.strip():
                yield number, _json_line(line, start)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file, each cut after MAX_BYTES + 1 bytes."""
    while line := stream.readline(MAX_BYTES + 1):
        rest = line
        while len(rest) > MAX_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_BYTES + 1)
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
    if (name := file_checks.duplicate_name(row)) is not None:
        return DataError(file_checks.message(name))
    return row if isinstance(row, dict) else DataError(_not_an_object(row))


def _csv(file: Path, delimiter: str = ",") -> Iterator[NumberedRow]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # its default refuses texts above 128 KiB
    text = _decode(_read(file), file)
    # Lines keep their line breaks, so that a quoted field keeps its own.
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


def _txt(file: Path) -> Iterator[NumberedRow]:
    if file.stat().st_size > MAX_BYTES:
        raise DataError(
            f"{file} is larger than {MAX_BYTES / 2**20:.0f} MiB, the limit for one document. "
            "Write its documents as the column text of a .jsonl file."
        )
    yield 1, {"text": _decode(_read(file), file)}


_TXT = ".txt"
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
    _TXT: _txt,
}


def known_suffix(file: Path, *, plain_text: bool = False) -> str | None:
    """Return which of the known endings a name has, for example `.jsonl.gz`, or None."""
    name = file.name.lower()
    known = next((known for known in _READERS if name.endswith(known)), None)
    return known if plain_text or known != _TXT else None


def _reader(file: Path) -> Reader:
    kind = known_suffix(file, plain_text=True)
    assert kind is not None, "call find() first"
    # BELLE and many later data sets call JSON lines .json.
    return _jsonl if _READERS[kind] is _json and _holds_lines(file) else _READERS[kind]


def _holds_lines(file: Path) -> bool:
    """Return whether the first line is a complete object and more lines follow."""
    try:
        with _open(file) as stream:
            if stream.read(4).removeprefix(_BOM)[:1] != b"{":
                return False
            stream.seek(0)
            lines = _lines(stream)
            first, more = next(lines, b""), next(lines, b"").strip()
    except (OSError, EOFError, zlib.error):
        return False  # rows() will meet the same error and report it
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
    return sum(len(value) for value in row.values() if isinstance(value, str)) > MAX_BYTES


def _size_error() -> DataError:
    return DataError(f"it is larger than {MAX_BYTES / 2**20:.0f} MiB, the limit for one row")


def _not_utf8(error: UnicodeDecodeError, start: int) -> str:
    return f"not UTF-8: byte 0x{error.object[error.start]:02x} at offset {start + error.start}"


def _not_an_object(value: object) -> str:
    return f"it is one {_kind(value)}, not an object with named columns"


def _kind(value: object) -> str:
    names = {dict: "object", list: "list", str: "text", type(None): "null"}
    return names.get(type(value), "number")


def _shown(folder: Path) -> str:
    return "The current folder" if folder == Path() else "That folder"


def _close_name(file: Path) -> str:
    if not file.parent.is_dir():
        return f"There is no folder {file.parent} either."
    names = sorted(entry.name for entry in file.parent.iterdir() if known_suffix(entry))
    stems = {name.partition(".")[0]: name for name in names}  # all endings are alike
    # A low cutoff, because names of files are short: `bb` may be a mistyped `b`.
    if close := closest(file.name.partition(".")[0], stems, cutoff=0.66):
        return f"Did you mean '{stems[close]}'?"
    return (
        f"{_shown(file.parent)} has {', '.join(names[:5])}."
        if names
        else f"{_shown(file.parent)} has no data files."
    )
