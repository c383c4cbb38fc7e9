"""Define the data formats: how a row becomes an example, and how a question becomes a prompt.

One entry describes a format completely. Training, evaluations, answers, chats and model cards all
read it. `data.recipe` names a format for its recipe; `data.prompt_template` and similar settings
name one for its prompt. A dotted path names your own function, or your own `Format`:

    MY_FORMAT = Format("orca", recipe=orca_row, prompt=orca_prompt, next_turn="\\nUser:")
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from anima_exp.config import lookup
from anima_exp.data import recipes, templates
from anima_exp.data.example import Example, Row
from anima_exp.errors import ConfigError

Recipe = Callable[[Row], Example | list[Example]]
Template = Callable[..., str]  # (instruction, input="") -> the prompt

CHAT = "chat"
_TO_THE_LETTER = "plain"  # how questions are put to a model of rows without a prompt of their own


@dataclass(frozen=True)
class Format:
    """One data format.

    A model that was trained on rows in a format is asked in the same format. An entry whose rows
    use the prompt of another one names it in `asked_as`.
    """

    name: str
    recipe: Recipe | None = None  # row -> Example, or a list of them
    prompt: Template | None = None  # (instruction, input="") -> the prompt before an answer
    asked_as: str | None = None  # the format that holds the prompt, if this one has none
    next_turn: str | None = None  # how the other speaker's turn begins; None = there are no turns
    stop: tuple[str, ...] = ()  # more texts that end an answer, beside `next_turn`
    opening: str = ""  # of the prompt, what is said only once in a dialogue
    between: str = ""  # between an answer and the next turn
    tokenizers_own: bool = False  # the prompt is the tokenizer's chat template
    used_by: tuple[str, ...] = ()  # published adapters that are asked so: patterns of their names

    @property
    def has_turns(self) -> bool:
        """Whether a prompt can hold the turns before it; else each question stands alone."""
        return self.tokenizers_own or self.next_turn is not None

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end an answer."""
        return (*((self.next_turn,) if self.next_turn else ()), *self.stop)


_ENTRIES = (
    Format(
        "alpaca",
        recipe=recipes.alpaca,
        prompt=templates.alpaca,
        stop=("###",),  # it has no turns, but its next section begins so; QLoRA cuts there
        used_by=(r"qlora-alpaca-\d+b", "Anima33B"),  # chinese-vicuna, put as Alpaca
    ),
    Format("guanaco", recipe=recipes.guanaco, prompt=templates.guanaco, next_turn="###"),
    Format(
        "guanaco_chat",
        prompt=templates.guanaco_chat,
        next_turn="###",
        opening=templates.GUANACO_SYSTEM,
        used_by=(r"guanaco-\d+b",),  # as the authors' own guanaco_generate.py asks
    ),
    Format(
        "guanaco_benchmark",
        prompt=templates.guanaco_benchmark,
        next_turn="###",
        opening=templates.GUANACO_SYSTEM,
        between=" ",
    ),
    Format(
        "hh_rlhf",
        recipe=recipes.hh_rlhf,
        prompt=templates.hh_rlhf,
        next_turn="\n\nHuman:",
        used_by=(r"qlora-hh-rlhf-\d+b",),
    ),
    Format(
        "plain",
        prompt=templates.plain,
        used_by=(r"qlora-(flan|chip2|longform|self-instruct|unnatural-instructions)-\d+b",),
    ),
    Format(CHAT, tokenizers_own=True),
    Format("oasst1", recipe=recipes.oasst1, asked_as="guanaco"),
    Format("input_output", recipe=recipes.input_output, asked_as="plain"),
    Format("prompt_response", recipe=recipes.prompt_response, asked_as="plain"),
    Format("prompt_completion", recipe=recipes.prompt_completion, asked_as="plain"),
    Format("chip2", recipe=recipes.chip2, asked_as="plain"),
    Format("unnatural_instructions", recipe=recipes.unnatural_instructions, asked_as="plain"),
    Format("flan_v2", recipe=recipes.flan_v2, asked_as="plain"),
)
FORMATS = {one.name: one for one in _ENTRIES}
WITH_RECIPE = {name: one for name, one in FORMATS.items() if one.recipe}
WITH_PROMPT = {name: one for name, one in FORMATS.items() if one.prompt}
_FOR_ANSWERS = WITH_PROMPT | {CHAT: FORMATS[CHAT]}


def recipe(name: str, *, key: str = "data.recipe") -> Recipe:
    """Return the function that makes examples of rows.

    Raises:
        ConfigError: there is no such recipe.
    """
    found = _format(name, WITH_RECIPE, part="recipe", what="recipe", key=key)
    assert found.recipe is not None
    return found.recipe


def template(name: str, *, key: str = "data.prompt_template") -> Template:
    """Return the function that puts a bare question.

    Raises:
        ConfigError: there is no such prompt template.
    """
    found = _format(name, WITH_PROMPT, part="prompt", what="prompt template", key=key)
    assert found.prompt is not None
    return found.prompt


def for_answers(name: str, *, key: str) -> Format:
    """Return the format that questions are put in, which may be the tokenizer's own, `chat`.

    Raises:
        ConfigError: there is no such format.
    """
    if name == CHAT:
        return FORMATS[CHAT]
    return _format(name, _FOR_ANSWERS, part="prompt", what="prompt template", key=key)


def asked_as(recipe_name: str) -> str:
    """Name the prompt template for a model that was trained on rows of this recipe.

    `plain` where that is unknown: for a function of your own, and for a name that does not exist.
    """
    if "." in recipe_name:
        try:
            found = lookup.own(recipe_name, key="data.recipe")
        except ConfigError:  # which the check of data.recipe reports
            return _TO_THE_LETTER
        if not isinstance(found, Format):
            return _TO_THE_LETTER
        return recipe_name if found.prompt or found.asked_as else _TO_THE_LETTER
    known = WITH_RECIPE.get(recipe_name)
    return (known.asked_as or known.name) if known else _TO_THE_LETTER


def states_its_prompt(recipe_name: str) -> bool:
    """Return whether it is known in which format a recipe puts its prompts."""
    if "." not in recipe_name:
        return recipe_name in WITH_RECIPE
    try:
        found = lookup.own(recipe_name, key="data.recipe")
    except ConfigError:
        return False
    return isinstance(found, Format) and bool(found.prompt or found.asked_as)


def of_published(adapter: str) -> str | None:
    """Name the format that a published adapter is asked in; None if it is not known."""
    for name, one in FORMATS.items():
        if any(re.fullmatch(pattern, adapter, re.IGNORECASE) for pattern in one.used_by):
            return name
    return None


def _format(name: str, among: Mapping[str, Format], *, part: str, what: str, key: str) -> Format:
    """Return the entry, with a function of the user's own as the `part` of an entry of its own."""
    found: Any = lookup.entry(name, among=among, what=what, key=key)
    if isinstance(found, Format):
        if part == "prompt" and not found.prompt and found.asked_as:
            if f"={name}: asked_as" in key:
                raise ConfigError(
                    f"{key}={name} refers back to itself, so it has no prompt. Give one of these "
                    "formats a prompt."
                )
            return _format(
                found.asked_as, among, part=part, what=what, key=f"{key}={name}: asked_as"
            )
        if getattr(found, part) is None:
            raise ConfigError(
                f"{key}={name} is a Format without a {part}. Give it one: Format({part}=...)."
            )
        return found
    if not callable(found):
        raise ConfigError(
            f"{key}={name} is neither a function nor a Format. It is {type(found).__name__}."
        )
    return Format(name, recipe=found) if part == "recipe" else Format(name, prompt=found)
