"""A run's settings -> a prompt exactly as its training rows put one."""

from typing import Any

from anima_exp.data import formats

_NO_QUESTION = "What is the capital of France?"


def template(settings: dict[str, Any]) -> str:
    """The format's name: the recipe's own; for a recipe of the user's, what was set beside it."""
    recipe = settings["data.recipe"]
    if formats.states_its_prompt(recipe):
        return formats.asked_as(recipe)
    return str(settings["data.prompt_template"])


def example(settings: dict[str, Any], *, begin: str) -> str:
    """One of the run's sample questions as a prompt; `begin` is the text of BOS, or empty."""
    asked = settings.get("evals.samples.prompts") or settings["data.sample_prompts"]
    ask = formats.template(template(settings))
    return begin + str(ask(asked[0] if asked else _NO_QUESTION))


def written_by_others(settings: dict[str, Any]) -> bool:
    """Whether the rows' prompts come from a recipe of the user's own, which we cannot know."""
    return not formats.states_its_prompt(settings["data.recipe"])
