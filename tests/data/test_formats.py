"""A format is one entry: whatever reads rows, asks questions or cuts answers reads it there."""

import sys

import pytest

from anima_exp.config.lookup import functions
from anima_exp.data import formats, prompts, recipes, templates
from anima_exp.data.example import Example
from anima_exp.data.formats import FORMATS, Format
from anima_exp.errors import ConfigError
from anima_exp.model_card import snippets as card
from anima_exp.results import identity

MINE = """
from anima_exp.data.example import Example
from anima_exp.data.formats import Format

def orca_row(row):
    return Example(orca(row["question"]), row["response"])

def orca(instruction, input=""):
    return f"<q>{instruction}<a>"

ORCA = Format("orca", recipe=orca_row, prompt=orca, next_turn="<q>", stop=("<end>",))
ROWS_ONLY = Format("rows", recipe=orca_row, prompt_format="guanaco")
NO_RECIPE = Format("asks", prompt=orca)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "my_formats.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "my_formats.py"
    sys.modules.pop("my_formats", None)


def test_every_recipe_and_every_template_stands_in_an_entry():
    of_examples = {one.recipe for one in FORMATS.values() if not one.conversations}
    assert of_examples - {None} == {*functions(recipes).values()}
    assert {one.prompt for one in FORMATS.values() if one.prompt} == {
        *functions(templates).values()
    }


@pytest.mark.parametrize("name", formats.WITH_RECIPE)
def test_the_prompt_template_of_a_recipe_exists(name):
    template = formats.prompt_template_of(name)
    assert formats.for_answers(template, key="data.prompt_template").name == template
    assert (template == formats.CHAT) == formats.holds_conversations(name)


@pytest.mark.parametrize("name", ["guanaco_chat", "guanaco_benchmark"])
def test_the_opening_of_a_format_opens_its_prompts(name):
    assert FORMATS[name].prompt("Hi").startswith(FORMATS[name].opening)


def test_a_format_of_your_own_reads_rows_and_asks(mine):
    found = formats.recipe("my_formats.ORCA")({"question": "2+2", "response": "4"})
    assert found == Example("<q>2+2<a>", "4")
    assert formats.template("my_formats.ORCA")("Hi") == "<q>Hi<a>"


def test_a_format_of_your_own_has_turns_and_ends_answers_there(mine, compose):
    from anima_exp.model.tokenizer import load_tokenizer

    assert prompts.stops("my_formats.ORCA", None) == ("<q>", "<end>")
    asked = prompts.prompt("my_formats.ORCA", load_tokenizer(compose().model), "B", [("A", "yes")])
    assert asked.text == "<q>A<a> yes<q>B<a>"


def test_a_recipe_that_is_a_format_is_asked_in_it_without_another_word(mine, compose):
    config = compose("data=local", "data.path=a.jsonl", "data.recipe=my_formats.ORCA")
    assert config.data.prompt_template == "my_formats.ORCA"
    settings = identity.flatten(config)
    assert card.example(settings, begin="<s>") == "<s><q>What is the capital of France?<a>"
    assert not card.written_by_others(settings)


def test_a_users_format_may_use_the_prompt_of_ours(mine, compose):
    config = compose("data=local", "data.path=a.jsonl", "data.recipe=my_formats.ROWS_ONLY")
    assert formats.template(config.data.prompt_template) is templates.guanaco


def test_a_recipe_that_is_a_function_is_asked_plainly_as_before(mine, compose):
    config = compose("data=local", "data.path=a.jsonl", "data.recipe=my_formats.orca_row")
    assert config.data.prompt_template == "plain"
    assert card.written_by_others(identity.flatten(config))


def test_a_format_of_your_own_counts_by_its_code(mine, compose):
    arguments = (
        "data=local",
        "data.path=a.jsonl",
        "data.recipe=my_formats.ORCA",
        "trainer.max_steps=1",
    )
    before = identity.run_name(compose(*arguments))
    mine.write_text(MINE.replace("<a>", "<b>"))
    assert identity.run_name(compose(*arguments)) != before


def test_a_format_without_what_a_setting_needs_says_so(mine):
    with pytest.raises(ConfigError) as error:
        formats.recipe("my_formats.NO_RECIPE")
    assert str(error.value) == (
        "data.recipe=my_formats.NO_RECIPE is a Format without a recipe. "
        "Give it one: Format(recipe=...)."
    )


def test_a_published_adapter_is_found_by_its_name():
    assert formats.format_of_published("qlora-FLAN-7b") == "plain"
    assert formats.format_of_published("my-adapter") is None


def test_two_formats_are_equal_by_what_they_hold():
    assert Format("a") == Format("a")


def test_a_format_that_leads_back_to_itself_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "looped.py").write_text(
        "from anima_exp.data.formats import Format\n"
        "LOOP = Format('loop', recipe=dict, prompt_format='looped.LOOP')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"refers back to itself, so it has no prompt"):
        formats.template("looped.LOOP")
