"""The same ids as the plain reference way, on real text with real tokenizers."""

import json

import pytest
from support.byte_tokenizer import local

from anima_exp.data import readers, recipes
from anima_exp.data.dataset import prepare
from anima_exp.data.encode import IGNORE
from anima_exp.errors import DataError

SETS = {
    "alpaca": "instruction/belle_zh/train/utils/data/dev1K.json",
    "hh_rlhf": "instruction/hh_rlhf/harmless-base/test.jsonl.gz",
    "oasst1": "instruction/oasst1/openassistant-guanaco-like.en-validation.jsonl",
}


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def real_tokenizer(request, shared_data):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(shared_data / "tokenizers" / request.param)


def reference(tokenizer, example, *, max_prompt, max_response):
    """qlora.py's DataCollatorForCausalLM, one row at a time."""

    def ids(text, most):
        return tokenizer(text, max_length=most, truncation=True, add_special_tokens=False).input_ids

    source = ids(f"{tokenizer.bos_token or ''}{example.prompt}", max_prompt)
    target = ids(f"{example.response}{tokenizer.eos_token}", max_response)
    return source + target, [IGNORE] * len(source) + target


@pytest.mark.parametrize("recipe", SETS)
def test_ids_and_labels_are_qloras(recipe, real_tokenizer, shared_data, tmp_path):
    path = shared_data / SETS[recipe]
    config = local(path, recipe=recipe, max_rows=200, max_prompt_tokens=64, max_response_tokens=96)
    train = prepare(config, real_tokenizer, cache=tmp_path).train
    rows = dict(readers.rows(path))
    for i in range(len(train)):
        number = int(train.tokens.rows[train.order[i]])
        example = getattr(recipes, recipe)(rows[number])
        ids, labels = reference(real_tokenizer, example, max_prompt=64, max_response=96)
        assert train[i]["input_ids"].tolist() == ids
        assert train[i]["labels"].tolist() == labels
    assert len(train) == min(200, len(rows))


def test_alpaca_has_28_rows_without_an_answer(shared_data):
    empty = 0
    for _, row in readers.rows(shared_data / "instruction/alpaca_en/alpaca_data.json"):
        try:
            recipes.alpaca(row)
        except DataError as error:
            assert str(error) == "column 'output' is empty"
            empty += 1
    assert empty == 28


def test_a_llama_response_starts_with_its_own_space_mark(shared_data, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(shared_data / "tokenizers" / "llama")
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"prompt": "Say: ", "response": "hello"}), encoding="utf-8")
    train = prepare(local(path), tokenizer, cache=tmp_path / "cache").train
    assert tokenizer.convert_ids_to_tokens(train.response_ids(0).tolist()) == ["▁hello"]
