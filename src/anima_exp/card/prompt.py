"""A run's settings -> a prompt exactly as its training rows put one."""

from typing import Any

from anima_exp.data import templates
from anima_exp.lookup import function

# Which template writes what a recipe's rows hold.
_WRITTEN_BY = {
    "alpaca": "alpaca",
    "guanaco": "guanaco",
    "oasst1": "guanaco",
    "hh_rlhf": "hh_rlhf",
    "input_output": "plain",
    "prompt_response": "plain",
    "prompt_completion": "plain",
    "chip2": "plain",
    "unnatural_instructions": "plain",
    "flan_v2": "plain",
}
_NO_QUESTION = "What is the capital of France?"


def template(settings: dict[str, Any]) -> str:
    """The format's name: the recipe's own; for a recipe of the user's, what was set beside it."""
    return _WRITTEN_BY.get(settings["data.recipe"], str(settings["data.prompt_template"]))


def example(settings: dict[str, Any], *, begin: str) -> str:
    """One of the run's sample questions as a prompt; `begin` is the text of BOS, or empty."""
    asked = settings.get("evals.samples.prompts") or settings["data.sample_prompts"]
    ask = function(template(settings), among=templates, key="data.prompt_template")
    return begin + str(ask(asked[0] if asked else _NO_QUESTION))


def written_by_others(settings: dict[str, Any]) -> bool:
    """Whether the rows' prompts come from a recipe of the user's own, which we cannot know."""
    return settings["data.recipe"] not in _WRITTEN_BY
