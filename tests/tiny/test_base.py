"""The shipped base loads with plain transformers and has the skills that its card says."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import anima_exp.tiny
from anima_exp.tiny.pretrain.scores import exact_match, unseen_tasks

BASE = Path(anima_exp.tiny.__file__).parent / "base"


@pytest.fixture(scope="module")
def base():  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(BASE)


def test_it_answers_english_tasks(base) -> None:  # type: ignore[no-untyped-def]
    assert exact_match(*base, unseen_tasks("en", 100))["all"] >= 0.80  # 87.9 % of 1,000


def test_it_cannot_yet_answer_chinese_tasks(base) -> None:  # type: ignore[no-untyped-def]
    assert exact_match(*base, unseen_tasks("zh", 100))["all"] <= 0.25


def test_linear_dimensions_fit_nf4_blocks(base) -> None:  # type: ignore[no-untyped-def]
    for module in base[0].modules():
        if isinstance(module, torch.nn.Linear):
            assert module.in_features % 64 == 0
            assert module.out_features % 64 == 0


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in BASE.iterdir()) < 5_000_000
