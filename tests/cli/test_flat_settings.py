"""Commands without Hydra take key=value as all others do, and the options of earlier versions."""

from dataclasses import dataclass
from enum import StrEnum

import pytest

from anima_exp.cli.flat_settings import parse
from anima_exp.config.setting import setting
from anima_exp.errors import ConfigError
from anima_exp.events import Noted, listening


class Colour(StrEnum):
    red = "red"
    blue = "blue"


@dataclass
class Settings:
    runs: list[str] = setting(list, "Runs.", formerly=("paths",))
    filter: list[str] = setting(list, "Conditions.")
    number: int = setting(10, "A count.", at_least=1, formerly=("orders",))
    share: float | None = setting(None, "A share.", above=0)
    colour: Colour = setting(Colour.red, "A colour.", former_values={"azure": "blue"})
    html: str | None = setting(None, "A file.")
    wandb: bool = setting(False, "Whether.", formerly=("one_pass",))


def read(*arguments):
    return parse(arguments, Settings, words="runs", taking_several=("filter",))


def test_words_and_settings_come_in_any_order():
    found = read("runs/a", "number=3", "runs/b", "html=a=b.html")
    assert found == Settings(runs=["runs/a", "runs/b"], number=3, html="a=b.html")


def test_a_list_takes_brackets_repeated_keys_and_single_items():
    assert read("runs=[a,b]", "filter=x>=1", "filter=y").runs == ["a", "b"]
    assert read("filter=x>=1", "filter=y").filter == ["x>=1", "y"]
    assert read("filter=['a,b', c[1,2], \"d\"]").filter == ["a,b", "c[1,2]", "d"]
    assert read("filter=[]").filter == read("filter=null").filter == []


def test_each_type_is_read():
    found = read("number=1_000", "share=1e-2", "colour=blue", "wandb=TRUE", 'html="my page"')
    assert found == Settings(
        number=1000, share=0.01, colour=Colour.blue, wandb=True, html="my page"
    )
    assert read("share=null", "html=null") == Settings()


def test_a_folder_whose_name_holds_an_equals_sign_is_a_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rank=8").mkdir()
    assert read("rank=8", "other/rank=8").runs == ["rank=8", "other/rank=8"]


def test_the_options_of_earlier_versions_still_work():
    found = read("a", "--number", "3", "--html=x.html", "--wandb", "--filter", "p", "q")
    assert found == Settings(runs=["a"], number=3, html="x.html", wandb=True, filter=["p", "q"])


def test_a_renamed_option_works_and_is_reported_once():
    heard = []
    with listening(lambda event: heard.append(event.text) if isinstance(event, Noted) else None):
        assert read("--orders", "5", "--one-pass", "a") == Settings(
            runs=["a"], number=5, wandb=True
        )
        assert read("orders=6", "colour=azure") == Settings(number=6, colour=Colour.blue)
    assert "orders was renamed. Use number." in heard
    assert "one_pass was renamed. Use wandb." in heard
    assert "colour=azure was renamed. Use colour=blue." in heard


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nmber=3"], "There is no setting 'nmber'. Did you mean 'number'?"),
        (["ordrs=3"], "There is no setting 'ordrs'. Did you mean 'number'?"),
        (["xyzzy=3"], "There is no setting 'xyzzy'. Known: runs, filter, number"),
        (["--nmber", "3"], "There is no option --nmber. Did you mean number=...?"),
        (["--number"], "--number needs a value. Write number=VALUE."),
        (["number=x"], "number=x is not a whole number."),
        (["number=null"], "number=null is not a whole number."),
        (["number=0"], "number=0 must be at least 1."),
        (["share=x"], "share=x is not a number (or null)."),
        (["share=nan"], "share=nan must be a finite number."),
        (["colour=blu"], "colour=blu is not one of red, blue. Did you mean colour=blue?"),
        (["wandb=maybe"], "wandb=maybe is not true or false."),
    ],
)
def test_a_mistake_names_the_setting_and_the_way_out(arguments, told):
    with pytest.raises(ConfigError) as raised:
        read(*arguments)
    assert str(raised.value).startswith(told)


def test_a_word_is_refused_where_no_setting_takes_words():
    with pytest.raises(ConfigError, match="'word' is neither an option nor a setting"):
        parse(["word"], Settings)
