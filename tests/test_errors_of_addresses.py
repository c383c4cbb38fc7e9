"""Users and passwords in addresses reach no name, no file and no error."""

import json

import pytest

from anima_exp.display import console
from anima_exp.errors import DataError, without_password
from anima_exp.results import identity
from anima_exp.system.atomic import write_json
from anima_exp.system.terminal import print_stderr

WITH = "https://ada:s3cret@data.org/rows.json?a=b@c"
WITHOUT = "https://data.org/rows.json?a=b@c"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (WITH, WITHOUT),
        (f"{WITH}, {WITH}", f"{WITHOUT}, {WITHOUT}"),
        ("s3://key:a@b@bucket/x", "s3://bucket/x"),
        ("HTTP://token@host", "HTTP://host"),
        ("https://host/@user", "https://host/@user"),
        ("ada@host: see https://host and b@c", "ada@host: see https://host and b@c"),
    ],
)
def test_a_login_is_taken_out_and_nothing_else(text, left):
    assert without_password(text) == left


def test_settings_and_names_do_not_know_it(compose):
    data = ["data=local", "data.path=null", "data.source=json", "data.recipe=alpaca"]
    known = compose(*data, f"data.data_files='{WITH}'")
    assert identity.flatten(known)["data.data_files"] == WITHOUT
    assert identity.identity_settings(known)["data.data_files"] == WITHOUT
    assert identity.run_name(known) == identity.run_name(
        compose(*data, f"data.data_files='{WITHOUT}'")
    )
    assert known.data.data_files == WITH  # it is still what is read


def test_no_error_file_or_line_holds_it(tmp_path, capsys):
    assert str(DataError(f"data.source={WITH} cannot be loaded.")) == (
        f"data.source={WITHOUT} cannot be loaded."
    )
    write_json(tmp_path / "a.json", {WITH: [{"a": WITH}], "b": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {WITHOUT: [{"a": WITHOUT}], "b": 1}
    print_stderr(WITH)
    console.show_plan({"measures": f"answers to {WITH}"})
    printed = capsys.readouterr()
    assert "s3cret" not in printed.out + printed.err
    assert WITHOUT in printed.err
