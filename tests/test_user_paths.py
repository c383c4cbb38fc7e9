"""Paths of the user: one function expands `~`, and says in one line what it cannot."""

import re
from pathlib import Path

import pytest

import anima_exp
from anima_exp.errors import ConfigError
from anima_exp.system import paths


@pytest.fixture
def no_home(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    for name in ("ANIMA_EXP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_a_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/mine")
    assert paths.expanded("~/runs") == Path("/home/mine/runs")
    assert paths.expanded("runs/~a") == Path("runs/~a")


def test_a_file_whose_name_begins_so_is_a_file():
    assert paths.expanded("./~draft.json") == Path("~draft.json")


def test_a_user_that_does_not_exist_is_one_line():
    line = (
        r"^runs_dir=~nobody9/r: there is no user 'nobody9'\. Write the full path, or \./~NAME for "
        r"a file whose name begins with ~\.$"
    )
    with pytest.raises(ConfigError, match=line):
        paths.expanded("~nobody9/r", "runs_dir")


def test_without_a_home_a_path_and_the_cache_are_one_line(no_home):
    with pytest.raises(ConfigError, match=r"^runs_dir=~/r: there is no home folder\."):
        paths.expanded("~/r", "runs_dir")
    with pytest.raises(
        ConfigError, match=r"^There is no home folder for the cache\. Set cache_dir="
    ):
        paths.cache()
    assert paths.cache("somewhere") == Path("somewhere")


def test_a_path_that_a_file_names_is_no_mistake_of_the_user(no_home):
    assert paths.known_path("~/model") == Path("~/model")


def test_nothing_else_expands_a_path():
    files = list(Path(anima_exp.__file__).parent.rglob("*.py"))
    assert len(files) > 100
    users = {f.name for f in files if re.search(r"\bexpanduser\(", f.read_text(encoding="utf-8"))}
    assert users == {"completion.py", "paths.py"}
