"""data=sample_chat trains on conversations, and a run scores each of their turns."""

import pytest

from anima_exp.experiment.run import run
from anima_exp.results.record import Record

TURNS = [f"exact_match_turn_{turn}" for turn in (1, 2, 3)]


@pytest.fixture
def train(compose, tmp_path):
    def _train(*overrides):
        return run(compose("data=sample_chat", f"runs_dir={tmp_path}", "tracking=none", *overrides))

    return _train


def test_a_run_scores_every_turn_before_and_after_and_learns(train):
    record: Record = train(
        "trainer.max_steps=8", "trainer.batch_size=8", "trainer.eval_every=null",
        "data.max_rows=60", "data.heldout_rows=12", "evals=[heldout,exact_match]",
    )  # fmt: skip
    assert record.scores_after.keys() == {"heldout_loss", "exact_match", *TURNS}
    assert record.scores_before["exact_match_turn_2"] < 0.2
    assert record.scores_after["heldout_loss"] < 0.7 * record.scores_before["heldout_loss"]
    card = (record.folder / "adapter" / "README.md").read_text(encoding="utf-8")
    assert "license: apache-2.0" in card
    assert "the conversations of the task world embedded in anima-exp" in card
    assert "every answer of 12 rows set aside, greedy" in card
    assert "answer 2 of the conversations among 12 rows set aside, greedy" in card


@pytest.mark.slow
def test_the_base_cannot_answer_later_turns_and_learns_it(train):
    record = train("trainer.max_steps=200", "trainer.eval_every=null")
    before, after = record.scores_before, record.scores_after
    assert before["exact_match"] < 0.4  # 31.8 %; after 400 steps 84.5 %
    assert before["exact_match_turn_2"] < 0.1
    assert after["exact_match"] > before["exact_match"] + 0.1
    assert after["exact_match_turn_2"] > before["exact_match_turn_2"] + 0.2
    assert after["exact_match_turn_3"] > before["exact_match_turn_3"] + 0.2
