import pytest

from anima_exp.comparison.settings import condition, format_value, headings, in_order, parse
from anima_exp.errors import ConfigError

KNOWN = ["lora.rank", "lora.alpha", "model.name", "data.name", "optimizer.learning_rate"]


@pytest.mark.parametrize(
    "text, holds, fails",
    [
        ("lora.rank=8", 8, 64),
        ("lora.rank==8", 8.0, 64),
        ("lora.rank!=8", 64, 8),
        ("lora.rank>=8", 8, 4),
        ("lora.rank <= 8", 8, 64),
        ("rank>8", 64, 8),
        ("lora.rank<8", 4, 8),
        ("data.name!=chip2", "alpaca", "chip2"),
        ("learning_rate=2e-4", 0.0002, 2e-3),
        ("model=tiny", "tiny", "llama7b"),
        ("lora.alpha=null", None, 0),
        ("lora.rank<8", 4, None),
        ("lora.rank<8", 4, "many"),
    ],
)
def test_a_condition_holds_or_not(text, holds, fails):
    found = condition(text, KNOWN, option="filter")
    assert found.holds(holds)
    assert not found.holds(fails)


def told(text):
    with pytest.raises(ConfigError) as error:
        condition(text, KNOWN, option="filter")
    return str(error.value)


def test_a_mistaken_condition_says_what_to_write():
    assert told("lora.rank") == (
        "filter=lora.rank is no condition. Write SETTING=VALUE; also !=, <, <=, > and >=."
    )
    assert told("lora.rnak=8") == (
        "filter: no run has a setting 'lora.rnak'. Did you mean 'lora.rank'?"
    )
    assert told("name=x") == "filter=name may be data.name or model.name. Give one of them."


def test_values_are_read_and_written_as_on_the_command_line():
    for text in ("8", "0.05", "null", "true", "tiny"):
        assert format_value(parse(text)) == text
    assert format_value(1e-4) == "0.0001"
    assert parse("1e-4") == 1e-4


def test_short_names_where_they_are_clear():
    assert headings(["lora.rank", "model.name", "quant.type"]) == {
        "lora.rank": "rank",
        "model.name": "model",
        "quant.type": "quant",
    }
    assert headings(["a.dtype", "b.dtype"]) == {"a.dtype": "a.dtype", "b.dtype": "b.dtype"}


def test_levels_stand_in_the_order_of_counting():
    assert in_order([64, 8, None, "x", 8.0, 16, "b"]) == [None, 8.0, 16, 64, "b", "x"]
