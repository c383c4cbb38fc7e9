import gzip
import json
import re
import tracemalloc

import pytest

from anima_exp.data import readers
from anima_exp.errors import DataError


def read(path):
    return list(readers.rows(readers.find(str(path), key="data.path")))


def refused(path, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$") as caught:
        read(path)
    assert "\n" not in str(caught.value)


@pytest.fixture
def write(tmp_path):
    def _write(name, content):
        path = tmp_path / name
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return _write


ROWS = [{"q": "你好", "a": "hi\u2028there"}, {"q": "", "a": "N/A"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps(ROWS)),
        ("a.json", json.dumps(ROWS, indent=4, ensure_ascii=False)),
        ("a.json", LINES),  # BELLE's files are JSON lines under this name
        ("a.json.gz", json.dumps(ROWS)),
        ("a.jsonl", LINES),
        ("a.jsonl", LINES.rstrip("\n")),
        ("a.jsonl", LINES.replace("\n", "\r\n")),
        ("a.JSONL", "\ufeff" + LINES),
        ("a.json", "\ufeff" + json.dumps(ROWS)),
        ("a.jsonl.gz", LINES),
        ("a.ndjson", LINES),
        ("a.csv.gz", 'q,a\n你好,hi\u2028there\n"",N/A\n'),
        ("a.csv", 'q,a\n你好,hi\u2028there\n"",N/A\n'),
        ("a.csv", '\ufeffq,a\r\n你好,"hi\u2028there"\r\n,N/A\r\n'),
        ("a.tsv", "q\ta\n你好\thi\u2028there\n\tN/A\n"),
    ],
)
def test_every_kind_of_file_gives_the_same_rows(write, name, content):
    assert [row for _, row in read(write(name, content))] == ROWS


@pytest.mark.parametrize(
    ("value", "reason"),
    [("[" * 100_000, "values that are nested too deeply"), ("1" * 5000, "a number of too many")],
)
def test_json_that_python_cannot_hold_is_one_line(write, value, reason):
    with pytest.raises(DataError, match=rf"^.*a.json cannot be read: it contains {reason}"):
        read(write("a.json", f'[{{"a": {value}'))
    ((_, error),) = read(write("a.jsonl", f'{{"a": {value}'))
    assert str(error).startswith(f"broken JSON: {reason}")


def test_parquet_gives_them_too(tmp_path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == [(1, ROWS[0]), (2, ROWS[1])]


def test_rows_are_numbered_as_an_editor_shows_them(write):
    lines = write("a.jsonl", '{"a": 1}\n\n{"a": 2}\n')
    assert [number for number, _ in read(lines)] == [1, 3]
    table = write("a.csv", 'q,a\n"two\nlines",b\nc,d\n')
    assert read(table) == [(2, {"q": "two\nlines", "a": "b"}), (4, {"q": "c", "a": "d"})]
    assert (readers.row_or_line(lines), readers.row_or_line(table)) == ("line", "line")
    assert readers.row_or_line(write("b.json", "[]")) == "row"


def test_a_text_above_the_csv_modules_limit_is_read(write):
    assert read(write("a.csv", f"q\n{'x' * 200_000}\n"))[0][1] == {"q": "x" * 200_000}


def test_a_missing_file_suggests_one_with_a_close_name(write):
    near = write("alpaca_data.json", "[]")
    path = near.with_name("alpaca_dta.json")
    refused(path, f"data.path={path}: no such file. Did you mean 'alpaca_data.json'?")
    path = near.with_name("xyz.csv")
    refused(path, f"data.path={path}: no such file. That folder has alpaca_data.json.")
    path = near.parent / "nowhere" / "a.json"
    refused(path, f"data.path={path}: no such file. There is no folder {path.parent} either.")


def test_a_folder_is_not_a_file(tmp_path):
    refused(tmp_path, f"data.path={tmp_path} is a folder. Give one of its files.")


def test_an_unknown_ending_lists_the_known_ones(write):
    path = write("a.txt", "x")
    refused(
        path,
        f"data.path={path}: cannot read a file that ends in '.txt'. "
        "Known endings: .json, .jsonl, .ndjson, .json.gz, .jsonl.gz, .ndjson.gz, .csv, .tsv, "
        ".csv.gz, .tsv.gz, .parquet.",
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.json",
            '[{"a": 1},\n {"a" 2}]',
            "{path} is not JSON: Expecting ':' delimiter at line 2, column 7.",
        ),
        (
            "a.json",
            '{"version": 1, "data": [{"a": 1}]}',
            "{path} must contain a list of objects, not one object. "
            "Save the list under 'data' as a separate file.",
        ),
        ("a.json", '"a"', "{path} must contain a list of objects, not one text."),
        ("a.json", b'["\xff"]', "{path} is not UTF-8: byte 0xff at offset 2. Save it as UTF-8."),
        ("a.csv", b"q,a\n\xe4,b", "{path} is not UTF-8: byte 0xe4 at offset 4. Save it as UTF-8."),
        ("a.csv", "q,a,q\n1,2,3\n", "{path}: the header names the column 'q' twice."),
        ("a.csv", 'q,a\n1,2\n"open,3\n', "{path}, line 3: broken quotes: unexpected end of data."),
    ],
)
def test_a_broken_file_says_where(write, name, content, message):
    path = write(name, content)
    refused(path, message.format(path=path))


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.json.gz"])
def test_a_damaged_archive_is_one_line(write, name):
    path = write(name, LINES * 100)
    path.write_bytes(path.read_bytes()[:60])
    refused(
        path,
        f"{path} cannot be read: "
        "Compressed file ended before the end-of-stream marker was reached.",
    )


def test_a_file_that_is_no_parquet_is_one_line(write):
    path = write("a.parquet", "x" * 100)
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))} is not Parquet: Parquet magic"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "number", "message"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": \n', 2, "broken JSON: Expecting value at column 7"),
        ("a.jsonl", f'{{"a": {"9" * 5000}}}\n', 1, "broken JSON: a number of too many digits"),
        ("a.jsonl", '{"a": 1, "a": 2}\n{"a": 3}\n', 1, "it has the column 'a' twice"),
        ("a.json", '[{"a": 1}, {"b": [{"a": 1, "a": 2}]}]', 2, "it has the column 'a' twice"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xff"}\n', 2, "not UTF-8: byte 0xff at offset 16"),
        ("a.jsonl", b'\xef\xbb\xbf{"a": "\xff"}\n', 1, "not UTF-8: byte 0xff at offset 10"),
        ("a.jsonl", '{"a": 1}\n[1]\n', 2, "it is one list, not an object with named columns"),
        ("a.json", '[{"a": 1}, "b"]', 2, "it is one text, not an object with named columns"),
        ("a.csv", "q,a\n1,2\n3\n", 3, "fields: 1, but the header has 2"),
    ],
)
def test_one_broken_row_does_not_hide_the_others(write, name, content, number, message):
    rows = dict(read(write(name, content)))
    error = rows[number]
    assert isinstance(error, DataError) and str(error) == message
    assert all(isinstance(row, dict) for other, row in rows.items() if other != number)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_a_row_beyond_a_sensible_size_is_no_row(write, name, monkeypatch):
    monkeypatch.setattr(readers, "MAX_BYTES", 2**20)
    text = "x" * (2**20 + 1)
    contents = {
        "a.jsonl": f'{{"a": "{text}"}}\n{{"a": "b"}}',
        "a.json": json.dumps([{"a": text}, {"a": "b"}]),
        "a.csv": f"a\n{text}\nb\n",
    }
    (_, first), (number, second) = read(write(name, contents[name]))
    assert str(first) == "it is larger than 1 MiB, the limit for one row"
    assert (number, second) == (3 if name == "a.csv" else 2, {"a": "b"})


def test_a_line_that_is_too_long_is_not_held_in_memory(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("wb") as stream:
        stream.write(b'{"a": "')
        stream.truncate(200 * 2**20)  # zeros that take no room on the disk
    tracemalloc.start()
    try:
        [(number, row)] = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (number, str(row)) == (1, "it is larger than 16 MiB, the limit for one row")
    assert peak < 100 * 2**20


def test_names_that_a_spreadsheet_left_empty_may_repeat(write):
    assert read(write("a.csv", "q,,\n1,,\n")) == [(2, {"q": "1", "": ""})]


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("trian.jsonl", "Did you mean 'train.jsonl'?"),
        ("z.jsonl", "That folder has train.jsonl."),  # only the ending is alike
    ],
)
def test_a_file_is_suggested_only_if_its_name_is_close(tmp_path, given, hint):
    (tmp_path / "train.jsonl").write_text("{}")
    with pytest.raises(DataError, match=re.escape(f"no such file. {hint}")):
        readers.find(str(tmp_path / given), key="data.path")
