"""What was measured after a run counts as its score, where it is the run's own model."""

import json

import pytest
from support import synthetic

from anima_exp.comparison.extra_scores import with_evaluations, with_ratings
from anima_exp.comparison.runs import load
from anima_exp.errors import DataError

pytestmark = pytest.mark.usefixtures("shown")  # what is told is printed, as under the command


def evaluation(folder, name, scores, *, finished="2026-01-01", trained=None, **settings):
    trained = trained or json.loads((folder / "record.json").read_text())["finished"]
    place = folder / "evaluations"
    place.mkdir(exist_ok=True)
    every = {**synthetic.SETTINGS, "run": str(folder), "adapter": None, **settings}
    (place / f"{name}.json").write_text(
        json.dumps({"settings": every, "scores": scores, "finished": finished, "trained": trained})
    )


@pytest.fixture
def folder(tmp_path):
    return synthetic.run(tmp_path / "runs" / "one", loss=0.5)


def scores(folder):
    (run,) = with_evaluations(load([folder])).runs
    return run.scores


def test_a_later_evaluation_adds_its_scores(folder):
    evaluation(folder, "a", {"mmlu": 0.41})
    assert scores(folder) == {"heldout_loss": 0.5, "exact_match": 0.46, "mmlu": 0.41}


def test_the_runs_own_figure_stays(folder):
    evaluation(folder, "a", {"heldout_loss": 0.9, "mmlu": 0.41})
    assert scores(folder)["heldout_loss"] == 0.5


def test_the_newest_of_several_counts(folder):
    evaluation(folder, "a", {"mmlu": 0.6}, finished="2026-01-02")
    evaluation(folder, "b", {"mmlu": 0.4}, finished="2026-01-01")
    assert scores(folder)["mmlu"] == 0.6


@pytest.mark.parametrize(
    "other", [{"quant.type": "none"}, {"data.name": "alpaca"}, {"adapter": "x"}], ids=str
)
def test_another_model_or_other_rows_are_not_this_run(folder, other):
    evaluation(folder, "a", {"mmlu": 0.41}, **other)
    assert "mmlu" not in scores(folder)


def test_an_evaluation_of_an_earlier_training_in_this_folder_is_not_this_runs(folder):
    evaluation(folder, "a", {"mmlu": 0.41}, trained="1999-01-01")
    assert "mmlu" not in scores(folder)


def test_a_score_measured_in_two_ways_is_told(folder, capsys):
    evaluation(folder, "a", {"mmlu": 0.4}, **{"evals.mmlu.shots": 5})
    evaluation(folder, "b", {"mmlu": 0.3}, finished="2026-01-02", **{"evals.mmlu.shots": 0})
    assert scores(folder)["mmlu"] == 0.3
    assert "mmlu was measured in several ways; the newest counts." in capsys.readouterr().err


def test_runs_of_one_name_are_told_and_not_rated(tmp_path, capsys):
    for place in ("a", "b"):
        synthetic.run(tmp_path / place / "best", seed=place == "b")
    ratings = tmp_path / "ratings.json"
    ratings.write_text(json.dumps({"scores": {"best": {"elo": 1100.0}}}))
    found = with_ratings(load([tmp_path / "a" / "best", tmp_path / "b" / "best"]), ratings)
    assert [run.scores.get("elo") for run in found.runs] == [None, None]
    assert "2 runs are called best; none of them is rated." in capsys.readouterr().err


def test_a_broken_evaluation_is_told_and_left_out(folder, capsys):
    evaluation(folder, "a", {"mmlu": 0.41})
    (folder / "evaluations" / "b.json").write_text("{")
    assert scores(folder)["mmlu"] == 0.41
    assert "b.json is left out, it cannot be read" in capsys.readouterr().err


def test_ratings_belong_to_the_run_with_the_players_name(tmp_path, folder, capsys):
    synthetic.run(tmp_path / "runs" / "two", loss=0.6)
    ratings = tmp_path / "ratings.json"
    ratings.write_text(json.dumps({"scores": {"one": {"elo": 1100.0}, "gpt-4": {"elo": 1348.0}}}))
    found = with_ratings(load([tmp_path / "runs"]), ratings)
    assert {run.name: run.scores.get("elo") for run in found.runs} == {"one": 1100.0, "two": None}
    assert "1 of 2 rated players are not among these runs: gpt-4." in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"scores": 3}'])
def test_a_file_that_holds_no_ratings_is_one_line(tmp_path, folder, text):
    ratings = tmp_path / "ratings.json"
    ratings.write_text(text)
    with pytest.raises(DataError, match=r"not what anima-exp elo out=FILE writes"):
        with_ratings(load([folder]), ratings)
