"""A set of token ids keeps its name over versions, unless an edit changes the ids of some row."""

import hashlib
import json
from contextlib import suppress
from functools import partial

import pytest
from support.byte_tokenizer import byte_tokenizer

from anima_exp.data import recipes, token_cache
from anima_exp.errors import DataError

# As version 0.1.0 named them. A run that it began resumes only under the same name.
NAMES = {
    "alpaca": "d2c5ebb796343210a50c4aed06f0d509",
    "guanaco": "783846bea670f37d921ae6974ed4eb02",
    "input_output": "30534f756dc0adbb50746e07e92ac0ca",
    "prompt_response": "6e0addb84a338fbdbc856aa9411d3123",
    "prompt_completion": "8d40da06a72510f17a73efa89194ca5b",
    "oasst1": "bb9d889aa63aaf3f332eb0caaee5c26e",
    "hh_rlhf": "b524eadefb11ad7a053620fa401b7261",
    "chip2": "7842852188e8a2cae09487e270c1ce10",
    "unnatural_instructions": "8db9de5538a79154544c2388304046ce",
    "flan_v2": "da2baa8ff9fc04b3b843c77eec6de0f1",
}

ROW = {
    "instruction": "Add them.", "input": "1 and 2", "output": "3", "prompt": "a ", "response": " b",
    "completion": "c\n", "text": "<human>: d\n<bot>: e\n<human>: f\n<bot>: g", "chosen": "h\n",
    "inputs": "i", "targets": "j",
    "instances": [{"instruction_with_input": "k", "output": "l"}],
    "reformulations": [{"instruction_with_input": "m", "output": "n"}],
}  # fmt: skip
EXAMPLES = "00a91db672f4893347b459b813d71bb959dbdf434fdcea7c2206d08d7066522f"


@pytest.fixture
def tokenizer():
    """A tokenizer whose text does not depend on the version of the tokenizers library."""

    class Backend:
        def to_str(self):
            return "fixed"

    fixed = byte_tokenizer()
    fixed.backend_tokenizer = Backend()
    return fixed


@pytest.mark.parametrize("recipe", NAMES)
def test_a_set_of_0_1_0_is_still_used(tokenizer, recipe):
    assert (
        token_cache.key("f" * 64, getattr(recipes, recipe), tokenizer, named=recipe)
        == NAMES[recipe]
    )


def test_a_shipped_recipe_that_gives_other_examples_renames_its_sets():
    """If this fails, an edit changed an example: change one of token_key._RECIPES and this."""
    found = {}
    for name in NAMES:
        for row in (ROW, {**ROW, "input": "1 "}, {**ROW, "input": ""}):
            with suppress(DataError):  # an empty input is an empty prompt to input_output
                made = getattr(recipes, name)(row)
                pairs = made if isinstance(made, list) else [made]
                found[f"{name} {row['input']}"] = [vars(pair) for pair in pairs]
    text = json.dumps(found, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == EXAMPLES


def test_two_recipes_that_one_function_has_made_have_two_keys(tokenizer):
    def made(answer):
        def recipe(row):
            return answer

        return recipe

    first, second = made("a"), made("b")
    key = token_cache.key("rows", first, tokenizer, named="json.A")
    assert key != token_cache.key("rows", second, tokenizer, named="json.B")
    assert key == token_cache.key("rows", first, tokenizer, named="json.A")


def test_an_object_may_be_a_recipe(tokenizer):
    row = partial(dict, answer=1)
    names = ("json.ROW", "json.OTHER")
    assert len({token_cache.key("rows", row, tokenizer, named=name) for name in names}) == 2
