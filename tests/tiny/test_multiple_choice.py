"""Multiple-choice questions: four distinct choices, one right, no letter favoured."""

from collections import Counter
from itertools import islice

import pytest

from anima_exp.errors import AnimaError
from anima_exp.tiny.multiple_choice import SUBJECTS, questions
from anima_exp.tiny.world import tasks


@pytest.mark.parametrize("language", ["en", "zh"])
def test_choices_are_four_distinct_strings(language: str) -> None:
    for question in questions(language, 2000, seed=1):
        assert len(set(question.choices)) == 4
        assert all(question.choices)


def test_right_letters_are_balanced_within_every_subject() -> None:
    asked = questions("en", 1800, seed=2)
    counts = Counter(question.answer for question in asked)
    assert counts == {"A": 450, "B": 450, "C": 450, "D": 450}
    for subject in SUBJECTS:
        letters = Counter(question.answer for question in asked if question.subject == subject)
        assert min(letters.values()) > 25


def test_the_letter_names_the_right_choice() -> None:
    """Every question that is also a task of the world has that task's answer."""
    answers = {task.instruction: task.answer for task in islice(tasks("en", seed=3), 15_000)}
    known = 0
    for question in questions("en", 2000, seed=4, part="train"):
        if question.question in answers:
            known += 1
            choice = question.choices["ABCD".index(question.answer)]
            assert choice == answers[question.question]
    assert known > 30


def test_the_text_is_in_mmlu_form() -> None:
    question = questions("en", 1, seed=5)[0]
    lines = question.text.splitlines()
    assert lines[0] == question.question
    assert [line[:3] for line in lines[1:5]] == ["A. ", "B. ", "C. ", "D. "]
    assert lines[5] == "Answer:"


def test_test_questions_never_meet_train_questions() -> None:
    train = {question.question for question in questions("zh", 2000, seed=1, part="train")}
    test = {question.question for question in questions("zh", 500, seed=2, part="test")}
    assert not train & test


def test_an_unknown_part_is_one_line() -> None:
    with pytest.raises(AnimaError, match="There is no part 'dev'"):
        questions("en", 1, seed=0, part="dev")
