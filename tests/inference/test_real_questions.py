"""The published questions and answers, where this machine has them."""

import json

import pytest

from anima_exp.config import AnsweringConfig
from anima_exp.data import templates
from anima_exp.inference.questions import load
from anima_exp.system.hashing import short_id


def rows(path):
    with path.open(encoding="utf-8", newline="\n") as lines:
        return [json.loads(line) for line in lines]


def questions(path, tmp_path, **settings):
    return load(str(path), AnsweringConfig(**settings), key="questions", cache=tmp_path)


def test_vicunas_80_questions_and_animas_translation(shared_data, tmp_path):
    vicuna = shared_data / "eval" / "vicuna"
    english = questions(vicuna / "vicuna_questions.jsonl", tmp_path)
    chinese = questions(vicuna / "translated_vicuna_eval_set.json", tmp_path, translated=True)
    assert [q.id for q in english] == [q.id for q in chinese] == list(range(1, 81))
    assert [q.category for q in english] == [q.category for q in chinese]
    assert len({q.category for q in english}) == 9
    assert all(any("\u4e00" <= c <= "\u9fff" for c in q.text) for q in chinese)
    assert any(q.text.startswith("问题：") for q in chinese)  # asked as Anima asked them


def test_guanacos_published_answers_were_asked_so(shared_data):
    files = sorted((shared_data / "eval" / "generations" / "vicuna").glob("*guanaco-vicuna*.jsonl"))
    assert len(files) == 4
    for path in files:
        for row in rows(path):
            assert row["prompt"] == templates.guanaco_benchmark(row["text"])


def test_published_answer_ids_follow_the_same_rule(shared_data):
    folder = shared_data / "eval"
    ratings = sorted((folder / "ratings").rglob("*.jsonl"))
    if not ratings:
        pytest.skip("no ratings here")
    known = {
        row[key] for path in ratings for row in rows(path) for key in ("answer1_id", "answer2_id")
    }
    asked = 0
    for path in sorted((folder / "generations" / "vicuna").glob("*guanaco-vicuna*.jsonl")):
        for row in rows(path):
            asked += 1
            assert short_id(
                row["generation_truncated"].partition("A chat between a curious")[0]
            ) in (known)
    assert asked == 320
