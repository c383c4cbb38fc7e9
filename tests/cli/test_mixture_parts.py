"""data.parts is a table with names of the user's choice: each mistake in it is one line."""

import re

import pytest

from anima_exp.config import MixturePart, TrainOn
from anima_exp.errors import ConfigError

A, B = "data.parts.a.path=a.jsonl", "data.parts.b.path=b.jsonl"


def mixed(compose, *overrides):
    return compose("data=mixture", *overrides).data


def test_a_part_has_the_settings_that_are_given(compose):
    data = mixed(compose, A, "data.parts.a.train_on=last", "data.parts.a.weight=2", B,
                 "data.parts.b.weight=1", "data.parts.b.heldout_rows=5")  # fmt: skip
    assert data.parts == {
        "a": MixturePart(path="a.jsonl", train_on=TrainOn.last, weight=2.0),
        "b": MixturePart(path="b.jsonl", heldout_rows=5, weight=1.0),
    }


def test_parts_are_in_the_order_of_their_names(compose):
    assert [*mixed(compose, B, A).parts] == ["a", "b"]


def test_a_part_that_is_null_is_left_out(compose):
    assert [*mixed(compose, A, B, "data.parts.b=null").parts] == ["a"]


@pytest.mark.parametrize(
    ("recipes", "template"),
    [
        (["text", "alpaca"], "alpaca"),
        (["text", "oasst1"], "guanaco"),
        (["text", "text"], "plain"),
        (["alpaca", "messages"], "chat"),
        (["alpaca", "null"], "chat"),  # data.recipe=auto
    ],
)
def test_the_prompt_template_is_that_of_the_parts(compose, recipes, template):
    chosen = [f"data.parts.{name}.recipe={one}" for name, one in zip("ab", recipes, strict=True)]
    assert mixed(compose, A, B, *chosen).prompt_template == template


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ([], "data=mixture needs parts. Add data.parts.NAME.path=FILE"),
        (["data.parts.a.recipe=text"],
         "data.parts.a has no rows. Give data.parts.a.path=FILE, or data.parts.a.source=HUB_ID."),
        ([A, "data.parts.a.source=x/y"],
         "data.parts.a.path=a.jsonl and data.parts.a.source=x/y are both set"),
        ([A, "data.parts.a.weight=0"], "data.parts.a.weight=0.0 must be greater than 0."),
        ([A, "data.parts.a.weight=-1"], "data.parts.a.weight=-1.0 must be greater than 0."),
        ([A, "data.parts.a.weight=much"], "data.parts.a.weight=much is not"),
        ([A, "data.parts.a.weight=1", B],
         "data.parts.b has no weight, but data.parts.a.weight=1. Give every part a weight, or"),
        ([A, "data.parts.a.paht=x"],
         "There is no setting 'data.parts.a.paht'. Did you mean 'data.parts.a.path'?"),
        ([A, "data.parts.a.optimizer=x"],
         "There is no setting 'data.parts.a.optimizer'. Known here: weight, source,"),
        (["data.parts={a-b: {path: x}}"], "data.parts.a-b: the name of a part consists of"),
        (["data.parts.a=x.jsonl"], "data.parts.a=x.jsonl is not a table of settings."),
        ([A, "data.path=b.jsonl"],
         "data.path=b.jsonl and data.parts are both set, but the rows of a mixture come from its"),
        ([A, "data.heldout_path=b.jsonl"], "data.heldout_path=b.jsonl and data.parts are both set"),
        ([A, "data.parts.a.heldout_path=b", "data.parts.a.heldout_split=c"],
         "data.parts.a.heldout_path=b and data.parts.a.heldout_split=c are both set"),
        ([A, "data.mix_size=smallest", "data.mix_total=9"],
         "data.mix_size=smallest and data.mix_total=9 contradict each other."),
        ([A, "data.parts.a.heldout_rows=0"], "Every data.parts.NAME.heldout_rows=0 leaves no rows"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(compose, overrides, line):
    with pytest.raises(ConfigError, match=f"^{re.escape(line)}") as told:
        mixed(compose, *overrides)
    assert "\n" not in str(told.value)


def test_the_size_of_a_mixture_without_parts_is_refused(compose):
    with pytest.raises(ConfigError, match=r"^data\.mix_total=9 is for mixtures, but data has no"):
        compose("data.mix_total=9")
