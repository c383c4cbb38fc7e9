"""Params, rows, multipliers and the command line -> the points of a grid."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from anima_exp.errors import ConfigError
from anima_exp.sweeping.expand import Point, expand
from anima_exp.sweeping.search.space import search_space

PARSER = OverridesParser.create()


def overrides(*arguments, **grid):
    return [point.overrides for point in expand(PARSER, arguments, **grid)]


def test_params_are_a_product():
    found = overrides(params={"lora.rank": "8,16", "seed": "0,1"})
    assert found == [
        ("lora.rank=8", "seed=0"), ("lora.rank=8", "seed=1"),
        ("lora.rank=16", "seed=0"), ("lora.rank=16", "seed=1"),
    ]  # fmt: skip


def test_rows_are_paired_values_and_meet_every_param():
    rows = [
        {"model": "llama7b", "trainer.max_steps": 100},
        {"model": "llama13b", "trainer.max_steps": 50},
    ]
    assert overrides(points=rows, params={"seed": "0,1"}) == [
        ("model=llama7b", "trainer.max_steps=100", "seed=0"),
        ("model=llama7b", "trainer.max_steps=100", "seed=1"),
        ("model=llama13b", "trainer.max_steps=50", "seed=0"),
        ("model=llama13b", "trainer.max_steps=50", "seed=1"),
    ]


def test_the_command_line_wins_over_params_rows_and_factors():
    found = expand(
        PARSER,
        ["model=tiny", "seed=7", "trainer.max_steps=5,6"],
        params={"seed": "0,1"},
        points=[{"model": "llama7b"}, {"model": "llama13b"}],
        multipliers={"trainer.max_steps": "0.5,1"},
    )
    assert found == [
        Point(("model=tiny", "seed=7", "trainer.max_steps=5")),
        Point(("model=tiny", "seed=7", "trainer.max_steps=6")),
    ], "two rows that the command line made equal are one"


def test_factors_multiply_whatever_a_cell_would_have_had():
    (half, twice) = expand(PARSER, ["seed=0"], multipliers={"trainer.max_steps": "0.5,2"})
    assert half == Point(("seed=0",), (("trainer.max_steps", 0.5),))
    assert twice == Point(("seed=0",), (("trainer.max_steps", 2.0),))


@pytest.mark.parametrize(
    ("argument", "cells"),
    [
        ("seed=range(0,3)", ["seed=0", "seed=1", "seed=2"]),
        ("seed=choice(4,5)", ["seed=4", "seed=5"]),
        ("evals=[heldout],[samples]", ["evals=[heldout]", "evals=[samples]"]),
        ("data.path='a,b.json'", ["data.path='a,b.json'"]),
        ("trainer.max_steps=null", ["trainer.max_steps=null"]),
    ],
)
def test_what_a_value_may_be(argument, cells):
    assert overrides(argument) == [(cell,) for cell in cells]


def test_yaml_values_are_written_as_the_command_line_writes_them():
    params = {
        "trainer.max_steps": None,
        "data.train_on_source": True,
        "evals": ["heldout", "samples"],
    }
    assert overrides(params=params) == [
        ("trainer.max_steps=null", "data.train_on_source=True", "evals=[heldout,samples]")
    ]


def test_an_interval_is_no_grid():
    with pytest.raises(
        ConfigError, match=r"a grid needs a list of values, not an interval.*optuna"
    ):
        overrides("lora.dropout=interval(0,1)")


def test_a_key_in_rows_and_params_is_a_mistake():
    with pytest.raises(ConfigError, match=r"seed is in the points of the sweep and in its params"):
        overrides(points=[{"seed": 1}], params={"seed": "1,2"})


@pytest.mark.parametrize("multipliers", ["a,b", "0,1", "-1", "inf,1", "nan"])
def test_factors_are_positive_numbers(multipliers):
    with pytest.raises(ConfigError, match=r"multipliers of trainer\.max_steps"):
        overrides(multipliers={"trainer.max_steps": multipliers})


ENDLESS = {
    "seed=range(0,100000000000000000000)": "the range has 100,000,000,000,000,000,000 values, but "
    "the limit is 100,000. Give a shorter range or a larger step.",
    "lora.dropout=range(0,inf)": "a range needs finite numbers and a step other than 0, as in "
    "range(0, 10, 2).",
    "lora.dropout=range(nan,1)": "a range needs finite",
    "lora.dropout=range(0,1,0.0)": "a range needs finite",
    "lora.dropout=range(0,1,1e-30)": "values, but the limit is 100,000.",
}


@pytest.mark.parametrize("argument", ENDLESS)
def test_a_range_without_end_is_refused_before_it_is_listed(argument):
    for listed in (overrides, lambda text: search_space(PARSER, [text], {})):
        with pytest.raises(ConfigError) as error:
            listed(argument)
        assert str(error.value).startswith(f"{argument}: ")
        assert ENDLESS[argument] in str(error.value)


def test_a_grid_of_a_thousand_million_cells_is_refused_before_it_is_composed():
    with pytest.raises(ConfigError, match=r"^The sweep has 1,000,000,000 runs, but the limit"):
        overrides("seed=range(0,1000)", "lora.rank=range(0,1000)", "lora.alpha=range(0,1000)")
    with pytest.raises(ConfigError, match=r"^The sweep has 200,000 runs, but the limit"):
        overrides("seed=range(0,100000)", multipliers={"trainer.max_steps": "1,2"})
    assert len(overrides("seed=range(0,100000)")) == 100_000
