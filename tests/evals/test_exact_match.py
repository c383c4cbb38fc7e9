"""Exact match of rows and of conversations, without a model: the answers are given."""

import re

import numpy as np
import pytest
from transformers import AutoTokenizer

from anima_exp.config import ExactMatchConfig
from anima_exp.data.chat.dataset import ChatDataset
from anima_exp.data.rows import QuestionIds
from anima_exp.errors import ConfigError
from anima_exp.evals import exact_match as module
from anima_exp.evals.exact_match import exact_match
from anima_exp.evals.score_names import group, scores
from anima_exp.metrics.catalogue import known
from anima_exp.metrics.metric import metric
from anima_exp.system.paths import tiny_base


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(tiny_base())


class Conversations(ChatDataset):
    """Conversations as their answers. The prompt of each is its row and its turn."""

    def __init__(self, rows, tokenizer):
        self.answers = [[tokenizer.encode(text) for text in row] for row in rows]

    def __len__(self):
        return len(self.answers)

    def questions(self, index):
        return [
            QuestionIds(np.array([index, turn]), np.array(ids), turn)
            for turn, ids in enumerate(self.answers[index], 1)
        ]


def measured(rows, given, tokenizer, monkeypatch, **settings):
    """Return the scores of a model that gives `given[row][turn]`."""

    def greedy(model, tokenizer, prompts, **_):
        return [given[row][turn - 1] for row, turn in prompts]

    monkeypatch.setattr(module, "greedy", greedy)
    config = ExactMatchConfig(**settings)
    return exact_match(None, tokenizer, Conversations(rows, tokenizer), config)


ROWS = [["2", "4", "even"], ["3", "9"], ["5", "6"], ["1", "2", "odd", "7"]]


def test_every_answer_counts_and_each_turn_has_a_share_of_its_own(tokenizer, monkeypatch):
    given = [["2", "5", "even"], ["3", "9"], ["4", "6"], ["1", "3", "even", "7"]]
    found = measured(ROWS, given, tokenizer, monkeypatch)
    assert found == {
        "exact_match": pytest.approx(7 / 11),
        "exact_match_turn_1": 3 / 4,
        "exact_match_turn_2": 2 / 4,
        "exact_match_turn_3": 1 / 2,
    }


def test_a_turn_that_no_conversation_has_gets_no_score(tokenizer, monkeypatch):
    found = measured(ROWS, ROWS, tokenizer, monkeypatch, max_rows=3)
    assert found == dict.fromkeys(
        ["exact_match", "exact_match_turn_1", "exact_match_turn_2", "exact_match_turn_3"], 1.0
    )
    found = measured(ROWS[1:3], ROWS[1:3], tokenizer, monkeypatch)
    assert "exact_match_turn_3" not in found


def test_a_turns_score_is_a_share_of_answers_and_has_an_entry(compose):
    one = metric("exact_match_turn_2")
    assert (one.number(0.735), one.direction) == ("73.5 %", "maximize")
    assert "answer 2 of each conversation" in known()["exact_match_turn_2"].what
    assert group("exact_match_turn_2", {}) == "evals.exact_match"


def test_only_conversations_have_scores_by_turn(compose):
    turns = {f"exact_match_turn_{turn}" for turn in (1, 2, 3)}
    assert scores(compose("data=sample_chat")) >= {"exact_match", *turns}
    assert not scores(compose()) & turns


def test_an_answer_pattern_compares_final_answers(tokenizer, monkeypatch):
    rows = [["1 + 1 = 2 . The answer is: 2"], ["2 + 2 = 4 . The answer is: 4"]]
    given = [["The answer is: 2"], ["2 + 2 = 4 . The answer is: 5"]]
    pattern = r"answer is:\s*(\S+)"
    assert measured(rows, given, tokenizer, monkeypatch, answer_pattern=pattern)[
        "exact_match"
    ] == pytest.approx(0.5)
    assert measured(rows, given, tokenizer, monkeypatch)["exact_match"] == 0


def test_the_pattern_is_that_of_the_data_set(compose):
    config = compose("model=llama3_2_3b", "data=metamathqa")
    assert config.evals.exact_match.answer_pattern == config.data.answer_pattern
    match = re.search(config.data.answer_pattern, "so 3.\n#### 3\nThe answer is: 3")
    assert match and match[1] == "3"
    assert compose().evals.exact_match.answer_pattern is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "is not a regular expression"), ("answer", "has no group, so it names no part")],
)
def test_a_pattern_that_names_no_answer_is_refused(compose, pattern, message):
    with pytest.raises(ConfigError, match=message):
        compose(f"evals.exact_match.answer_pattern='{pattern}'")
