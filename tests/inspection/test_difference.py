"""Two runs differ in what is shown, and in nothing else."""

from support import synthetic

from anima_exp.inspection.detail import run_detail
from anima_exp.inspection.difference import difference


def compared(tmp_path, first, second):
    folders = [
        synthetic.run(tmp_path / name, **given) for name, given in (("a", first), ("b", second))
    ]
    return difference(*map(run_detail, folders))


def test_only_what_differs_is_shown(tmp_path):
    found = compared(
        tmp_path,
        {"loss": 0.5, "lora.rank": 8, "tracking.project": "mine"},
        {"loss": 0.25, "lora.rank": 64, "steps": 40},
    )
    assert found.settings == {"lora.rank": (8, 64)}
    assert found.other_settings == {"tracking.project": ("mine", "anima_exp")}
    assert found.scores == {"heldout_loss": (0.5, 0.25)}
    assert found.costs == {"steps": (20, 40), "tokens": (6000, 12000)}
    assert not found.same


def test_a_score_that_one_run_lacks_differs(tmp_path):
    found = compared(tmp_path, {"scores": {"mmlu": 0.3}}, {"scores": {}})
    assert found.scores["mmlu"] == (0.3, None)


def test_two_runs_of_the_same_settings_and_scores_are_the_same(tmp_path):
    found = compared(tmp_path, {}, {})
    assert found.same
    assert found.settings == found.scores == found.costs == {}


def test_an_unfinished_run_is_compared_by_the_settings_that_it_kept(tmp_path):
    found = compared(tmp_path, {"seed": 1, "tracking.project": "mine"}, {"done": False})
    assert found.settings == {"seed": (1, 0)}
    assert found.other_settings == {}


def test_a_whole_number_and_the_same_fraction_do_not_differ(tmp_path):
    found = compared(tmp_path, {"lora.alpha": 16}, {"lora.alpha": 16.0})
    assert found.settings == {}
