import re
import sys

import pytest

from anima_exp import lookup
from anima_exp.data import recipes
from anima_exp.errors import ConfigError


def recipe(name):
    return lookup.function(name, among=recipes, key="data.recipe")


def test_a_name_is_a_function_of_the_module():
    assert recipe("alpaca") is recipes.alpaca


def test_a_misspelt_recipe_names_the_key_the_value_and_the_fix():
    message = (
        "data.recipe=alpca is not a function in anima_exp.data.recipes. Did you mean 'alpaca'?"
    )
    with pytest.raises(ConfigError, match=re.escape(message)):
        recipe("alpca")


def test_a_name_like_no_other_lists_what_there_is():
    with pytest.raises(ConfigError, match="Known: alpaca, chip2, flan_v2, guanaco"):
        recipe("xyz")


@pytest.mark.parametrize("name", ["_text", "Example", "missing_column"])
def test_what_a_module_uses_itself_is_not_on_offer(name):
    with pytest.raises(ConfigError, match="is not a function in"):
        recipe(name)


@pytest.fixture
def my_module(tmp_path, monkeypatch):
    (tmp_path / "my_recipes.py").write_text("def shout(row): ...\nnumber = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_recipes", None)


def test_your_own_function_is_found_by_dotted_path(my_module):
    assert recipe("my_recipes.shout").__name__ == "shout"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("my_recipes.shuot", "my_recipes.shuot does not exist. Did you mean 'shout'?"),
        ("my_recipes.number", "my_recipes.number is not a function. Known: shout."),
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
