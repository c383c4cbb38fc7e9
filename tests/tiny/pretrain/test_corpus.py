"""What the base is pre-trained on: no test task, and no Chinese question with its answer."""

import random
import re
from itertools import islice

from anima_exp.tiny.pretrain.corpus import (
    MIX,
    corpus,
    count_each,
    count_on,
    drill,
    guanaco_prompt,
    is_test,
)
from anima_exp.tiny.problems import Problem
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


def test_no_test_task_is_in_a_drill() -> None:
    rng = random.Random(0)
    for _ in range(300):
        instruction, _ = count_each(rng)
        items = tuple(instruction.split(" in ")[1].rstrip(".").split(", "))
        for item in set(items):
            assert not is_test(Problem("counting", {"item": item, "items": items}, ""))
        numbers = tuple(count_on(rng)[1].split(", "))
        assert not is_test(Problem("sequence", {"items": numbers[:3]}, ""))
        assert not is_test(Problem("sequence", {"items": numbers[-4:]}, ""))


def test_drills_have_answers() -> None:
    rng = random.Random(0)
    assert all(all(drill(rng)) for _ in range(500))
