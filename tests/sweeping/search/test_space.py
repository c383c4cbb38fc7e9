"""What is searched, in Hydra's own grammar."""

import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from anima_exp.errors import ConfigError
from anima_exp.sweeping.search.space import Search, search_space

LEARNING_RATE = "optimizer.learning_rate=tag(log, interval(1e-4, 1e-2))"


def space_of(*arguments, **params):
    return search_space(OverridesParser.create(), arguments, params)


@pytest.mark.parametrize(
    ("written", "drawn", "overrides"),
    [
        ("lora.rank=8,16,64", ["8", "64"], ["lora.rank=8", "lora.rank=64"]),
        ("lora.rank=int(interval(8, 64))", [8, 64], ["lora.rank=8", "lora.rank=64"]),
        ("lora.rank=range(8, 64, 8)", [8, 56], ["lora.rank=8", "lora.rank=56"]),
        ("lora.dropout=interval(0, 0.1)", [0.0, 0.1], ["lora.dropout=0", "lora.dropout=0.1"]),
        ("model=tiny,llama7b", ["tiny", "llama7b"], ["model=tiny", "model=llama7b"]),
    ],
)  # fmt: skip
def test_hydras_grammar_is_the_search_space(written, drawn, overrides):
    space = space_of(written, "seed=3")
    key = written.partition("=")[0]
    assert [space.overrides({key: value}) for value in drawn] == [
        ("seed=3", override) for override in overrides
    ]
    assert space.corners == [("seed=3", override) for override in overrides]


def test_orders_of_magnitude_are_searched_where_tagged():
    assert space_of(LEARNING_RATE).searched["optimizer.learning_rate"].log


def test_the_command_line_replaces_a_param():
    space = space_of("lora.rank=8,16", **{"lora.rank": "32,64", "seed": 1})
    assert (space.fixed, space.lines()) == (("seed=1",), ["lora.rank=8,16"])


def test_a_drawn_number_has_four_digits_and_stays_inside():
    space = space_of("lora.dropout=interval(0.123443, 0.2)")
    assert space.overrides({"lora.dropout": 0.15678912}) == ("lora.dropout=0.1568",)
    assert space.overrides({"lora.dropout": 0.123443}) == ("lora.dropout=0.123443",)


@pytest.mark.parametrize("ends", ["0, inf", "nan, 1", "1e-5, 1e309", "1, 100000000000000000000"])
def test_an_interval_has_ends(ends):
    written = f"lora.dropout=interval({ends})"
    message = f"{written}: an interval needs finite ends of at most 1e+15, as in interval(1e-4, 1)."
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        space_of(written)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("n_trials", 10**20, "n_trials=100000000000000000000 must be from 1 to 100,000."),
        ("batch_size", 0, "batch_size=0 must be from 1 to 100,000."),
        ("seed", 2**32, "seed=4294967296 must be from 0 to 4294967295."),
        ("seed", -1, "seed=-1 must be from 0 to 4294967295."),
    ],
)
def test_numbers_of_a_search_have_limits(key, value, message):
    settings = {"n_trials": 9, "sampler": "tpe", "pruner": "none", "seed": 0, "batch_size": 8}
    Search(**settings).check()
    with pytest.raises(ConfigError, match=f"^{re.escape(f'hydra.sweeper.{message}')}$"):
        Search(**settings | {key: value}).check()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "seed=1",
            "hydra/sweeper=optuna has nothing to search. Give a setting several values, as in "
            "lora.rank=8,16,64 or 'optimizer.learning_rate=tag(log, interval(1e-4, 1e-2))'.",
        ),
        (
            "lora.rank=interval(8, 64)",
            "lora.rank=interval(8, 64): lora.rank is a whole number. "
            "Search it with 'lora.rank=int(interval(8, 64))'.",
        ),
        (
            "lora.dropout=tag(lgo, interval(1e-4, 1e-2))",
            "lora.dropout=tag(lgo, interval(1e-4, 1e-2)): 'lgo' is not a tag of a search. Use "
            "tag(log, ...).",
        ),
        (
            "lora.rank=tag(log, choice(8, 16))",
            "lora.rank=tag(log, choice(8, 16)): tag(log, ...) needs an interval, not a list.",
        ),
    ],
)
def test_what_cannot_be_searched_is_said_in_one_line(written, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        space_of(written)
