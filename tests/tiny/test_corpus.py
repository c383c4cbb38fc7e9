"""What the base is pre-trained on: no test task, and no Chinese question with its answer."""

import random
import re
from itertools import islice

from anima_exp.tiny.corpus import MIX, corpus, guanaco_prompt
from anima_exp.tiny.drills import add_to_each, drill, in_train, subtract_from_each
from anima_exp.tiny.world import tasks


def test_shares_add_up_to_one() -> None:
    assert abs(sum(MIX.values()) - 1) < 1e-9


def test_no_test_task_is_in_the_corpus() -> None:
    unseen = islice(tasks("en", seed=1, part="test"), 2000)
    test = {guanaco_prompt(task.instruction) for task in unseen}
    assert not any(example.prompt in test for example in islice(corpus(seed=0), 5000))


def test_no_chinese_question_is_answered_in_the_corpus() -> None:
    for example in islice(corpus(seed=0), 5000):
        question = example.prompt.removeprefix("### Human: ").split("###")[0]
        assert not question or re.search("[A-Za-z]{2}", question)


def test_drilled_sums_are_training_sums() -> None:
    rng = random.Random(0)
    for make, kind in ((add_to_each, "addition"), (subtract_from_each, "subtraction")):
        for _ in range(300):
            b, *numbers = map(int, re.findall(r"\d+", make(rng)[0]))
            assert all(in_train(kind, a, b) for a in numbers)


def test_drills_have_answers() -> None:
    rng = random.Random(0)
    assert all(all(drill(rng)) for _ in range(500))
