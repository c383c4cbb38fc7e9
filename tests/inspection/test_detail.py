"""One run in full: what it computed, measured and left on the disk."""

import pytest
from support import synthetic

from anima_exp.errors import RunError
from anima_exp.inspection.detail import Score, find_run, run_detail


def test_a_done_run_has_scores_before_and_after(tmp_path):
    detail = run_detail(synthetic.run(tmp_path / "a", loss=0.25))
    assert detail.scores["heldout_loss"] == Score(2.19, 0.25)
    assert detail.measured_at is None
    assert detail.settings["lora.rank"] == 64
    assert detail.record is not None and detail.failure is None


def test_an_unfinished_run_has_the_scores_of_its_last_evaluation(tmp_path):
    folder = synthetic.run(tmp_path / "a", done=False)
    rows = [
        {"step": 0, "heldout_loss": 2.0, "eval_seconds": 1.0},
        {"step": 10, "heldout_loss": 1.0, "eval_seconds": 1.0},
        {"step": 20, "heldout_loss": 0.5, "mmlu": 0.3, "eval_seconds": 1.0},
        {"step": 30, "loss": 0.4},
    ]
    synthetic.lines(folder / "metrics.jsonl", rows)
    detail = run_detail(folder)
    assert detail.scores == {"heldout_loss": Score(2.0, 0.5), "mmlu": Score(None, 0.3)}
    assert detail.measured_at == 20


def test_a_run_before_its_first_evaluation_has_no_scores(tmp_path):
    folder = synthetic.run(tmp_path / "a", done=False)
    (folder / "metrics.jsonl").unlink()
    assert run_detail(folder).scores == {}


def test_every_file_is_listed_with_its_size_and_what_it_is_for(tmp_path):
    folder = synthetic.run(tmp_path / "a")
    (folder / "adapter").mkdir()
    (folder / "adapter/weights").write_bytes(b"x" * 1000)
    (folder / "mine.txt").write_text("mine")
    (folder / ".lock").write_text("")
    files = {one.name: one for one in run_detail(folder).files}
    assert (files["adapter/"].size, files["adapter/"].what) == (1000, "the trained adapter")
    assert files["mine.txt"].what == ""
    assert ".lock" not in files
    assert [*files][-1] == "mine.txt"


def test_a_failed_run_shows_the_whole_failure(tmp_path):
    detail = run_detail(synthetic.run(tmp_path / "a", failure="No memory.\nLower the batch."))
    assert detail.failure == "No memory.\nLower the batch."


def test_a_run_is_found_by_path_name_or_the_beginning_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("tiny-abc", "tiny-abd", "other"):
        synthetic.run(tmp_path / "runs" / name)
    assert find_run("runs/tiny-abc").name == "tiny-abc"
    assert find_run("tiny-abd").name == "tiny-abd"
    assert find_run("oth").name == "other"
    assert find_run("runs/oth").name == "other"
    with pytest.raises(RunError, match="tiny may be tiny-abc, tiny-abd"):
        find_run("tiny")
    with pytest.raises(RunError, match=r"There is no run huge\. `anima-exp runs runs`"):
        find_run("huge")
    with pytest.raises(RunError, match="runs is not a run folder"):
        find_run("runs")
