import pytest
from support import synthetic

from anima_exp.comparison.build import build
from anima_exp.comparison.runs import load
from anima_exp.errors import ConfigError


def compare(folder, **options):
    synthetic.grid(folder, noise=0.0)
    return build(load([folder]), **options)


def told(rows):
    return [(row.rank, row.cell.label) for row in rows]


def test_the_smallest_loss_leads(tmp_path):
    assert told(compare(tmp_path).rows) == [
        (1, "rank=64 dropout=0.05"),
        (2, "rank=64 dropout=0"),
        (3, "rank=8 dropout=0.05"),
        (4, "rank=8 dropout=0"),
    ]


def test_the_largest_accuracy_leads(tmp_path):
    for name, score in (("a", 0.1), ("b", 0.9)):
        synthetic.run(tmp_path / name, scores={"accuracy": score}, **{"lora.alpha": score})
    assert [row.score.mean for row in build(load([tmp_path])).rows] == [0.9, 0.1]


def test_costs_are_those_of_one_run(tmp_path):
    row = compare(tmp_path).rows[0]
    assert (row.steps, row.tokens, row.memory_gib) == (20, 6000, 0.68)
    assert row.hours == pytest.approx(50 / 3600)
    assert row.others["exact_match"].mean == pytest.approx(0.46)


def test_sorting_by_a_setting_keeps_the_ranks(tmp_path):
    rows = compare(tmp_path, sort="dropout").rows
    assert told(rows)[:2] == [(2, "rank=64 dropout=0"), (4, "rank=8 dropout=0")]


def test_the_best_of_each_value(tmp_path):
    found = compare(tmp_path, best_per="lora.dropout")
    assert told(found.shown) == [(1, "rank=64 dropout=0.05"), (2, "rank=64 dropout=0")]
    assert len(found.rows) == 4


@pytest.mark.parametrize("option, told", [("sort", "sort"), ("best_per", "best_per")])
def test_an_unknown_column_is_one_line(tmp_path, option, told):
    with pytest.raises(ConfigError) as error:
        compare(tmp_path, **{option: "lora.rnak"})
    assert str(error.value) == (
        f"{told}: no run has a setting 'lora.rnak'. Did you mean 'lora.rank'?"
    )


def test_a_filter_keeps_some_and_says_when_it_keeps_none(tmp_path):
    assert len(compare(tmp_path / "a", filters=["rank>=64", "dropout!=0"]).rows) == 1
    with pytest.raises(ConfigError) as error:
        compare(tmp_path / "b", filters=["rank=3"])
    assert str(error.value) == "'filter=rank=3' leaves none of the 12 runs."


def test_a_filter_knows_what_a_sweep_meant_to_start(tmp_path):
    cells = [(synthetic.run(tmp_path / "a"), []), (tmp_path / "never", ["lora.rank=2"])]
    found = load([synthetic.sweep(tmp_path / "s", cells)])
    assert [run.name for run in build(found, filters=["lora.rank=2"]).runs.runs] == ["never"]


def test_runs_without_the_score_are_named_not_dropped(tmp_path):
    synthetic.run(tmp_path / "a")
    synthetic.run(tmp_path / "b", scores={"exact_match": 0.5}, **{"lora.rank": 8})
    found = build(load([tmp_path]))
    assert [run.name for run in found.unscored] == ["b"]
    assert len(found.rows) == 1
