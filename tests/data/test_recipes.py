import re

import pytest

from anima_exp.data import recipes, templates
from anima_exp.data.example import Example
from anima_exp.errors import DataError

TASK = {"instruction": "写一首诗", "input": "", "output": "春眠不觉晓"}


def test_alpaca_leaves_out_an_empty_input_section():
    assert recipes.alpaca(TASK) == Example(templates.alpaca("写一首诗"), "春眠不觉晓")


@pytest.mark.parametrize(
    "row", [{**TASK, "input": None}, {"instruction": "写一首诗", "output": "春眠不觉晓"}]
)
def test_an_input_that_is_null_or_missing_is_empty(row):
    assert recipes.alpaca(row) == recipes.alpaca(TASK)


def test_guanaco_puts_alpacas_columns_into_guanacos_prompt():
    row = {"instruction": "Add.", "input": "1, 2", "output": "3"}
    assert recipes.guanaco(row) == Example("### Human: Add.\n1, 2### Assistant: ", "3")


@pytest.mark.parametrize(
    ("recipe", "prompt", "response"),
    [
        (recipes.input_output, "input", "output"),
        (recipes.prompt_response, "prompt", "response"),
        (recipes.prompt_completion, "prompt", "completion"),
        (recipes.flan_v2, "inputs", "targets"),
    ],
)
def test_two_columns_are_taken_as_they_are(recipe, prompt, response):
    assert recipe({prompt: " a ", response: " b\n"}) == Example(" a ", " b\n")


def test_a_whole_dialogue_is_the_response_of_an_empty_prompt():
    dialogue = "### Human: Hi### Assistant: Hello"
    assert recipes.oasst1({"text": dialogue}) == Example("", dialogue)
    assert recipes.hh_rlhf({"chosen": "\n\nHuman: Hi", "rejected": "?"}) == Example(
        "", "\n\nHuman: Hi"
    )


def test_chip2_keeps_the_first_question_and_its_answer():
    row = {"text": "<human>: One?\n<bot>: Two.\n<human>: Three?\n<bot>: Four."}
    assert recipes.chip2(row) == Example("One?", "Two.")


def test_every_wording_of_an_unnatural_instruction_is_an_example():
    row = {
        "instances": [{"instruction_with_input": "a", "output": "1"}],
        "reformulations": [{"instruction_with_input": "b", "output": "1"}],
    }
    assert recipes.unnatural_instructions(row) == [Example("a", "1"), Example("b", "1")]
    assert len(recipes.unnatural_instructions({**row, "reformulations": None})) == 1


@pytest.mark.parametrize(
    ("recipe", "row", "message"),
    [
        (
            recipes.alpaca,
            {"question": "a", "answer": "b"},
            "no column 'instruction', which data.recipe reads; the row has question, answer",
        ),
        (recipes.alpaca, {**TASK, "output": 7}, "column 'output' is a number, not text"),
        (
            recipes.alpaca,
            {**TASK, "instruction": None},
            "column 'instruction' is null, not text",
        ),
        (recipes.alpaca, {**TASK, "input": ["x"]}, "column 'input' is a list, not text"),
        (recipes.alpaca, {**TASK, "output": " \n"}, "column 'output' is empty"),
        (recipes.oasst1, {"text": ""}, "column 'text' is empty"),
        (recipes.chip2, {"text": "<human>: One?"}, "column 'text' has no turn '<bot>: '"),
        (
            recipes.unnatural_instructions,
            {"instances": "a"},
            "column 'instances' is str, not a list of objects",
        ),
        (
            recipes.flan_v2,
            {"inputs": "a", "targets": "\ud83d"},
            "the response contains half a character",
        ),
    ],
)
def test_a_row_that_is_not_what_the_recipe_reads_names_the_column(recipe, row, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}"):
        recipe(row)
