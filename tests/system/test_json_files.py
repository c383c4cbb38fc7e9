import json

import pytest

from anima_exp.system import json_files


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "values that are nested too deeply"),
        ('{"a":' * 100_000, "values that are nested too deeply"),
        ("1" * 5000, "a number of too many digits"),
        (b"\xff\x00", "not UTF-8: byte 0xff at position 0"),
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ('{"a": ', "Expecting value: line 1 column 7 (char 6)"),
    ],
)
def test_whatever_is_wrong_with_json_is_a_value_error_of_one_line(tmp_path, text, reason):
    with pytest.raises(ValueError) as error:
        json_files.parse(text)
    assert str(error.value) == reason
    (tmp_path / "file").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError):
        json_files.read_file(tmp_path / "file")


def test_what_json_can_hold_is_read(tmp_path):
    value = {"a": [1, 2.5, None, True, "ä\u2028"]}
    (tmp_path / "file").write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    assert json_files.read_table(tmp_path / "file") == value


@pytest.mark.parametrize(
    ("text", "kind"), [("[]", "a list"), ("null", "null"), ("1", "a number"), ("true", "true or")]
)
def test_a_table_is_an_object(tmp_path, text, kind):
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=f"it contains {kind}"):
        json_files.read_table(tmp_path / "file")
