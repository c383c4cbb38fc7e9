"""Common slips with data files: the line names what is wrong with the file, not with its rows."""

import json
import re

import pytest
from support.byte_tokenizer import local

from anima_exp.data import apply_recipe, readers
from anima_exp.data.file_rows import FileRow
from anima_exp.errors import DataError

ROWS = [{"prompt": f"q{n}", "response": f"a{n}"} for n in range(3)]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.jsonl", json.dumps(ROWS), "contains one JSON list, but a file of JSON lines has one"),
        ("a.jsonl", json.dumps(ROWS, indent=1), "contains one JSON list, but a file of JSON lines"),
        ("a.jsonl", "\n".join(json.dumps(row, indent=1) for row in ROWS),
         "has objects that span several lines, but a file of JSON lines has one object on each"),
        ("a.jsonl", "\n".join(map(json.dumps, ROWS)).encode("utf-16"), "is UTF-16, not UTF-8."),
        ("a.csv", "prompt;response\nq;a\n", "has a header separated by semicolons, not by commas"),
        ("a.csv", "prompt\tresponse\nq\ta\n", "has a header separated by tabs, not by commas."),
        ("a.json", "", "is empty."),
        ("a.json", "\ufeff \n", "is empty."),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_named_as_a_whole(tmp_path, name, content, line):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=rf"^{re.escape(str(file))}:? {re.escape(line)}") as told:
        list(readers.rows(file))
    assert "on_bad_row" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"a": 1}\n[1, 2]\n'),
        ("a.jsonl", "\n\n" + json.dumps(ROWS[0])),
        ("a.csv", "a;b,c\n1,2\n"),
        ("a.csv", "text\nx\n"),
    ],
)
def test_what_is_no_slip_is_read_row_by_row(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert list(readers.rows(tmp_path / name))


def test_skipping_is_advised_only_where_it_leaves_rows(tmp_path):
    file = tmp_path / "a.jsonl"
    nan = {"prompt": float("nan"), "response": "x"}

    def refused(*rows):
        file.write_text("\n".join(map(json.dumps, rows)))
        with pytest.raises(DataError) as told:
            apply_recipe.check_rows(local(file))
        return str(told.value)

    all_bad = refused(nan, nan)
    assert all_bad.endswith(
        "line 1: column 'prompt' is NaN, a missing value, not text. The next rows cannot "
        "be used either. Check that data.recipe fits this data."
    )
    for rows in ((nan, ROWS[0]), (ROWS[0], nan)):
        assert refused(*rows).endswith("Use data.on_bad_row=skip to leave out and count such rows.")


def test_a_whole_number_may_be_written_as_pandas_does():
    assert FileRow("f, line 1", {"id": 3.0}).identifier("id") == 3
    with pytest.raises(DataError, match=r"field 'id' is 3\.5\. Use a whole number or a text\.$"):
        FileRow("f, line 1", {"id": 3.5}).identifier("id")
    with pytest.raises(DataError, match=r"field 'id' is nan\. Use a whole number"):
        FileRow("f, line 1", {"id": float("nan")}).identifier("id")
