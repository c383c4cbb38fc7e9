"""The world's tasks: right, repeatable, and never the same in training and test."""

import random
import subprocess
import sys
from itertools import islice

import pytest

from anima_exp.errors import AnimaError
from anima_exp.tiny import phrases
from anima_exp.tiny.problems import KINDS, operands, problems
from anima_exp.tiny.world import Task, sample_rows, tasks

LANGUAGES = ("en", "zh")


def some(language: str, part: str, count: int = 2000, seed: int = 5) -> list[Task]:
    return list(islice(tasks(language, seed=seed, part=part), count))


def test_train_and_test_tasks_never_meet() -> None:
    def seen(part: str) -> set[str]:
        stream = problems(random.Random(7), part)
        return {operands(problem) for problem in islice(stream, 10_000)}

    assert not seen("train") & seen("test")


@pytest.mark.parametrize("language", LANGUAGES)
def test_train_and_test_instructions_never_meet(language: str) -> None:
    train = {task.instruction for task in some(language, "train", 10_000)}
    test = {task.instruction for task in some(language, "test", 1_000, seed=9)}
    assert not train & test


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_comes_equally_often(language: str) -> None:
    kinds = [task.kind for task in some(language, "test", 500)]
    assert [kinds.count(kind) for kind in KINDS] == [50] * len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_language_phrases_a_kind_in_at_least_five_ways(kind: str) -> None:
    for language in LANGUAGES:
        assert len(set(phrases.TEMPLATES[kind][language])) >= 5


def test_the_same_seed_gives_the_same_tasks_in_another_process() -> None:
    script = (
        "from itertools import islice; from anima_exp.tiny.world import tasks;"
        "import zlib; stream = islice(tasks('zh', seed=3), 500);"
        "print(zlib.crc32(repr(list(stream)).encode()))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_chinese_tasks_hold_no_english_word() -> None:
    for task in some("zh", "train"):
        words = [word for word in phrases.GLOSSARY if word in task.instruction + task.answer]
        assert not words


def test_both_languages_ask_the_same_problems() -> None:
    for english, chinese in zip(some("en", "test", 200), some("zh", "test", 200), strict=True):
        assert english.kind == chinese.kind
        assert english.answer.isdigit() == chinese.answer.isdigit()


def test_known_answers() -> None:
    for task in some("en", "train"):
        numbers = [int(word.strip(",.?:")) for word in task.instruction.split() if digits(word)]
        match task.kind:
            case "addition":
                assert int(task.answer) == sum(numbers)
            case "subtraction":
                assert int(task.answer) == max(numbers) - min(numbers)
            case "sequence":
                assert int(task.answer) == 2 * numbers[-1] - numbers[-2]
            case "sorting":
                assert sorted(task.answer.split(", ")) == sorted(map(str, numbers))
            case "parity":
                assert task.answer == ("odd" if numbers[0] % 2 else "even")


def digits(word: str) -> bool:
    return word.strip(",.?:").isdigit()


def test_sampled_rows_are_distinct_alpaca_rows_with_some_choices() -> None:
    rows = sample_rows(1000)
    assert len({row["instruction"] for row in rows}) == 1000
    assert all(set(row) == {"instruction", "input", "output", "kind"} for row in rows)
    assert all(row["output"] and not row["input"] for row in rows)
    assert sum(row["kind"] == "choice" for row in rows) == 100
    assert rows[:10] == sample_rows(10)


@pytest.mark.parametrize(("language", "part"), [("fr", "train"), ("en", "dev")])
def test_an_unknown_language_or_part_is_one_line(language: str, part: str) -> None:
    with pytest.raises(
        AnimaError, match=r"There is no .* in the tiny world\. Choose one of"
    ) as error:
        next(tasks(language, seed=0, part=part))
    assert "\n" not in str(error.value)
