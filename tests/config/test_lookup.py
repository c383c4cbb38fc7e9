import re
import sys

import pytest

from anima_exp.data import formats, recipes
from anima_exp.errors import ConfigError


def recipe(name):
    return formats.recipe(name)


def test_a_name_is_a_function_of_the_module():
    assert recipe("alpaca") is recipes.alpaca


def test_a_misspelt_recipe_names_the_key_the_value_and_the_fix():
    message = (
        "data.recipe=alpca: there is no such recipe. Did you mean 'alpaca'? "
        "To use your own, give its dotted path (my_package.my_module.my_function)."
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        recipe("alpca")


def test_a_name_like_no_other_lists_what_there_is():
    with pytest.raises(ConfigError, match="Known: alpaca, alpaca_chat, auto, belle_chat"):
        recipe("xyz")


@pytest.mark.parametrize("name", ["_text", "Example", "missing_column"])
def test_what_a_module_uses_itself_is_not_on_offer(name):
    with pytest.raises(ConfigError, match="there is no such recipe"):
        recipe(name)


@pytest.fixture
def my_module(tmp_path, monkeypatch):
    (tmp_path / "my_recipes.py").write_text("def shout(row): ...\nnumber = 3\n")
    (tmp_path / "my_syntax.py").write_text("x = 1\ndef shout(row: ...\n")
    (tmp_path / "my_name.py").write_text("x = 1\ny = unknown\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("my_recipes", "my_syntax", "my_name"):
        sys.modules.pop(name, None)


def test_your_own_function_is_found_by_dotted_path(my_module):
    assert recipe("my_recipes.shout").__name__ == "shout"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_recipes.shuot", "my_recipes.shuot does not exist. Did you mean 'shout'?"),
        (
            "my_recipes.number",
            "data.recipe=my_recipes.number is neither a function nor a Format. It is int.",
        ),
        (
            "my_syntax.shout",
            "data.recipe=my_syntax.shout cannot be imported: SyntaxError: '(' was never closed "
            "(my_syntax.py, line 2). Correct the module.",
        ),
        (
            "my_name.shout",
            "data.recipe=my_name.shout cannot be imported: NameError: name 'unknown' is not "
            "defined (my_name.py, line 2). Correct the module.",
        ),
        (
            "my_recipe.shout",
            "data.recipe=my_recipe.shout cannot be imported: No module named 'my_recipe'. "
            "Start in the folder that holds the module, or add that folder to PYTHONPATH.",
        ),
        (".shout", "data.recipe=.shout cannot be imported"),
    ],
)
def test_a_wrong_dotted_path_says_which_part_is_wrong(my_module, name, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        recipe(name)
