from support import synthetic

from anima_exp.comparison.build import build
from anima_exp.comparison.page.data import LETTERS, Answers, evenly, picks, plotted, windows
from anima_exp.comparison.runs import load


def test_a_run_older_than_a_setting_has_its_former_value_and_not_none(tmp_path):
    # settings.json leaves out lora.init where it is kaiming, as before the setting existed.
    for name, init in (("a", {}), ("b", {"lora.init": "pissa"}), ("c", {"lora.init": "olora"})):
        folder = synthetic.run(tmp_path / "runs" / name, **init)
        assert ("lora.init" in (folder / "settings.json").read_text()) == bool(init)
    synthetic.run(tmp_path / "runs" / "d", done=False)
    found = plotted(build(load([tmp_path / "runs"])))
    (setting,) = found["settings"]
    assert (setting["key"], setting["levels"]) == ("lora.init", ["kaiming", "olora", "pissa"])
    levels = {run["name"]: run["at"] for run in found["runs"]}
    assert levels == {"a": [0], "b": [2], "c": [1], "d": [0]}
    assert sorted(cell["at"] for cell in found["cells"]) == [[0], [1], [2]]


def test_a_setting_that_a_run_does_not_have_has_no_level(tmp_path):
    synthetic.run(tmp_path / "runs" / "a", **{"lora.rank": 8})
    synthetic.run(tmp_path / "runs" / "b")
    synthetic.run(tmp_path / "runs" / "c", done=False)
    file = tmp_path / "runs" / "c" / "settings.json"
    file.write_text('{"lora.target_modules": "none"}')
    found = plotted(build(load([tmp_path / "runs"])))
    place = [one["key"] for one in found["settings"]].index("lora.rank")
    assert found["settings"][place]["levels"] == ["8", "64"]
    assert {run["name"]: run["at"][place] for run in found["runs"]} == {"a": 0, "b": 1, "c": None}


def test_a_short_series_is_left_as_it_is():
    assert windows([10, 20], [2.0, 1.0], at_most=2) == ([10, 20], [2.0, 1.0])
    assert picks([10, 20], [2.0, 1.0], at_most=2) == ([10, 20], [2.0, 1.0])


def test_windows_are_means_placed_at_their_last_step():
    assert windows([1, 2, 3, 4, 5], [1.0, 3.0, 5.0, 7.0, 9.0], at_most=3) == (
        [2, 4, 5],
        [2.0, 6.0, 9.0],
    )


def test_picks_keep_both_ends():
    steps = list(range(1000))
    kept, values = picks(steps, [step / 2 for step in steps], at_most=20)
    assert (kept[0], kept[-1], len(kept)) == (0, 999, 20)
    assert values == [step / 2 for step in kept]


def test_nothing_thins_to_nothing():
    assert windows([], [], at_most=200) == ([], [])
    assert evenly([], at_most=2) == []


def test_answers_are_those_before_the_first_and_after_the_last_step():
    rows = [{"step": step, "prompt": "2+2?", "response": f"{step}"} for step in (0, 100, 50)]
    answers = Answers()
    before, after = answers.of(rows)
    texts = list(answers.texts)
    assert (texts[before[0]], texts[after[0]]) == ("0", "100")


def test_answers_seen_once_are_no_before():
    assert Answers().of([{"step": 5, "prompt": "2+2?", "response": "4"}]) == ({}, {0: 0})


def test_a_text_of_many_runs_is_kept_once_and_not_at_any_length():
    answers = Answers()
    for _ in range(3):
        answers.of([{"step": 0, "prompt": "?", "response": "a" * 5000}])
    (text,) = answers.texts
    assert text == "a" * LETTERS + "… (5,000 characters)"


def test_a_broken_line_is_no_answer():
    assert Answers().of([{"step": 0}, {"prompt": "?", "response": "!"}]) == ({}, {})
