import pytest
from support import synthetic

from anima_exp.comparison.choose_metric import Metric, choose_metric, metric
from anima_exp.comparison.runs import load
from anima_exp.display import console
from anima_exp.errors import ConfigError


@pytest.mark.parametrize(
    "name, direction",
    [
        ("heldout_loss", "minimize"),
        ("loss", "minimize"),
        ("perplexity", "minimize"),
        ("exact_match", "maximize"),
        ("mmlu_accuracy", "maximize"),
        ("elo", "maximize"),
    ],
)
def test_the_name_says_which_way_is_better(name, direction):
    assert metric(name).direction == direction


def test_numbers_are_written_as_in_a_runs_summary():
    for name, value in (("heldout_loss", 0.54765), ("exact_match", 0.46)):
        assert metric(name).number(value) == console.number(name, value)
    assert metric("elo").number(1012.3) == "1012"
    assert metric("exact_match").difference(-0.031) == "-3.1 pp"


def test_asked_then_the_sweeps_then_heldout_loss(tmp_path):
    run = synthetic.run(tmp_path / "runs/a")
    plain = load([run])
    assert choose_metric(plain, None) == Metric("heldout_loss", "minimize")
    assert choose_metric(plain, "exact_match") == Metric("exact_match", "maximize")
    sweep = load([synthetic.sweep(tmp_path / "s", [(run, [])], metric="exact_match",
                                  direction="maximize")])  # fmt: skip
    assert choose_metric(sweep, None).name == "exact_match"
    assert choose_metric(sweep, "heldout_loss").name == "heldout_loss"


def test_the_only_score_there_is(tmp_path):
    runs = load([synthetic.run(tmp_path / "a", scores={"cmmlu": 0.3})])
    assert choose_metric(runs, None) == Metric("cmmlu", "maximize")


def told(runs, asked):
    with pytest.raises(ConfigError) as error:
        choose_metric(runs, asked)
    return str(error.value)


def test_an_unknown_score_lists_those_there_are(tmp_path):
    runs = load([synthetic.run(tmp_path / "a")])
    assert told(runs, "heldout_los") == (
        "No finished run has the score 'heldout_los'. "
        "Give metric=NAME, one of: exact_match, heldout_loss."
    )


def test_several_scores_and_none_chosen(tmp_path):
    runs = load([synthetic.run(tmp_path / "a", scores={"mmlu": 0.3, "ceval": 0.4})])
    assert told(runs, None) == "Several scores are there. Give metric=NAME, one of: ceval, mmlu."


def test_runs_without_any_score(tmp_path):
    runs = load([synthetic.run(tmp_path / "a", scores={})])
    assert told(runs, None) == (
        "No finished run has a score. Train with data.heldout_rows above 0 and evals=[heldout]."
    )


def test_nothing_done_is_no_mistake(tmp_path):
    runs = load([synthetic.run(tmp_path / "a", done=False)])
    assert choose_metric(runs, None).name == "heldout_loss"
