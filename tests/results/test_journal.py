import pytest

from anima_exp.results.journal import MetricsLog
from anima_exp.results.tracking import Tracker


@pytest.fixture
def journal(compose, tmp_path):
    tracker = Tracker(compose("tracking=none"), tmp_path)
    assert tracker.notes == {}

    def _journal(resumed_at=None):
        return MetricsLog(tmp_path, tracker=tracker, steps=4, resumed_at=resumed_at)

    return _journal


def trained(step):
    return {"step": step, "loss": 1.0, "tokens_per_second": 1.0}


def write_all(journal):
    journal.evaluated(0, {"heldout_loss": 3.0}, [("q", "before")], 1.0)
    for step in (1, 2, 3, 4):
        journal.trained(trained(step))
    journal.evaluated(4, {"heldout_loss": 2.0}, [("q", "after")], 1.0)


def test_scores_and_answers_are_found_by_step(journal):
    now = journal()
    write_all(now)
    assert now.scores(0) == {"heldout_loss": 3.0}
    assert now.answers(4) == [("q", "after")]
    assert now.scores(2) == {}
    assert now.eval_seconds == 2.0


def test_what_came_after_the_checkpoint_is_forgotten(journal, tmp_path):
    write_all(journal())
    now = journal(resumed_at=2)
    assert now.scores(0) == {"heldout_loss": 3.0} and now.scores(4) == {}
    assert (tmp_path / "metrics.jsonl").read_text().count('"loss"') == 2


def test_the_last_evaluation_is_done_again_when_only_the_record_is_missing(journal, tmp_path):
    write_all(journal())
    now = journal(resumed_at=4)
    assert now.scores(4) == {} and now.answers(4) == []
    assert (tmp_path / "metrics.jsonl").read_text().count('"loss"') == 4


def test_a_run_that_begins_anew_begins_with_empty_files(journal, tmp_path):
    write_all(journal())
    journal()
    assert (tmp_path / "metrics.jsonl").read_text() == ""
