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
from anima_exp.data.chat import rows, texts
from anima_exp.data.chat.any_shape import any_shape
from anima_exp.data.chat.conversation import Conversation
from anima_exp.data.example import Example, Row
from anima_exp.errors import ConfigError

# A recipe reads one row. Those of one format return either examples or conversations.
Recipe = Callable[[Row], Example | Conversation | list[Example] | list[Conversation]]
Template = Callable[..., str]  # (instruction, input="") -> the prompt

CHAT = "chat"
AUTO = "auto"  # the recipe that recognizes the rows, and reads each as a conversation
_DEFAULT = "plain"  # the format of a model whose training prompts are unknown


@dataclass(frozen=True)
class Format:
    """One data format.

    A model is prompted in the format of the rows that it was trained on. A format whose rows use
    the prompt of another format names that one in `prompt_format`.
    """

    name: str
    recipe: Recipe | None = None  # row -> Example or Conversation, or a list of one of them
    conversations: bool = False  # the recipe returns conversations, and data.template applies
    # The recipe returns documents, examples without a prompt. They are cut into rows.
    documents: bool = False
    prompt: Template | None = None  # (instruction, input="") -> the prompt before an answer
    prompt_format: str | None = None  # the format that holds the prompt, if this one has none
    next_turn: str | None = None  # the text that begins the next user turn; None: no turns
    stop: tuple[str, ...] = ()  # texts that end an answer, in addition to `next_turn`
    opening: str = ""  # the part of the prompt that appears only once in a dialogue
    between: str = ""  # the text between an answer and the next turn
    tokenizers_own: bool = False  # the prompt is the tokenizer's chat template
    used_by: tuple[str, ...] = ()  # patterns of the names of published adapters of this format

    @property
    def has_turns(self) -> bool:
        """Whether a prompt can contain earlier turns; otherwise the model sees one question."""
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
        stop=("###",),  # there are no turns, but a new section begins so; QLoRA stops there too
        used_by=(r"qlora-alpaca-\d+b", "Anima33B"),  # Anima's chinese-vicuna rows are Alpaca's
    ),
    Format("guanaco", recipe=recipes.guanaco, prompt=templates.guanaco, next_turn="###"),
    Format(
        "guanaco_chat",
        prompt=templates.guanaco_chat,
        next_turn="###",
        opening=templates.GUANACO_SYSTEM,
        used_by=(r"guanaco-\d+b",),  # as in the authors' guanaco_generate.py
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
    Format(
        "metamathqa",
        recipe=recipes.metamathqa,
        prompt=templates.metamathqa,
        stop=("Question:",),  # a base model continues with a question of its own
    ),
    Format(CHAT, tokenizers_own=True),
    Format("oasst1", recipe=recipes.oasst1, prompt_format="guanaco"),
    Format("input_output", recipe=recipes.input_output, prompt_format="plain"),
    Format("prompt_response", recipe=recipes.prompt_response, prompt_format="plain"),
    Format("prompt_completion", recipe=recipes.prompt_completion, prompt_format="plain"),
    Format("chip2", recipe=recipes.chip2, prompt_format="plain"),
    Format("unnatural_instructions", recipe=recipes.unnatural_instructions, prompt_format="plain"),
    Format("flan_v2", recipe=recipes.flan_v2, prompt_format="plain"),
    Format("text", recipe=recipes.text, prompt_format="plain", documents=True),
    *(
        Format(name, recipe=recipe, prompt_format=CHAT, conversations=True)
        for name, recipe in (
            ("messages", rows.messages),
            ("sharegpt", rows.sharegpt),
            ("prompt_completion_chat", rows.prompt_completion_chat),
            ("alpaca_chat", texts.alpaca_chat),
            ("oasst1_chat", texts.oasst1_chat),
            ("hh_rlhf_chat", texts.hh_rlhf_chat),
            ("belle_chat", texts.belle_chat),
            (AUTO, any_shape),
        )
    ),
)
FORMATS = {entry.name: entry for entry in _ENTRIES}
WITH_RECIPE = {name: entry for name, entry in FORMATS.items() if entry.recipe}
WITH_PROMPT = {name: entry for name, entry in FORMATS.items() if entry.prompt}
_FOR_ANSWERS = WITH_PROMPT | {CHAT: FORMATS[CHAT]}


def recipe(name: str, *, key: str = "data.recipe") -> Recipe:
    """Return the function that converts a row to examples.

    Raises:
        ConfigError: if there is no such recipe.
    """
    entry = _format(name, WITH_RECIPE, part="recipe", what="recipe", key=key)
    assert entry.recipe is not None
    return entry.recipe


def holds_conversations(name: str) -> bool:
    """Return whether the recipe `name` returns conversations, and not prompts and responses.

    Raises:
        ConfigError: if there is no such recipe.
    """
    return _format(name, WITH_RECIPE, part="recipe", what="recipe", key="data.recipe").conversations


def holds_documents(name: str) -> bool:
    """Return whether the recipe `name` returns documents, which are cut into rows.

    Raises:
        ConfigError: if there is no such recipe.
    """
    return _format(name, WITH_RECIPE, part="recipe", what="recipe", key="data.recipe").documents


def template(name: str, *, key: str = "data.prompt_template") -> Template:
    """Return the function that builds the prompt of a question.

    Raises:
        ConfigError: if there is no such prompt template.
    """
    entry = _format(name, WITH_PROMPT, part="prompt", what="prompt template", key=key)
    assert entry.prompt is not None
    return entry.prompt


def for_answers(name: str, *, key: str) -> Format:
    """Return the format of prompts, which may be `chat`: the tokenizer's chat template.

    Raises:
        ConfigError: if there is no such format.
    """
    if name == CHAT:
        return FORMATS[CHAT]
    return _format(name, _FOR_ANSWERS, part="prompt", what="prompt template", key=key)


def prompt_template_of(recipe_name: str) -> str:
    """Return the name of the prompt template for a model trained on rows of this recipe.

    It is `plain` if it is unknown: for a user's function, and for a name that does not exist.
    """
    if "." in recipe_name:
        try:
            named = lookup.own(recipe_name, key="data.recipe")
        except ConfigError:  # the check of data.recipe reports it
            return _DEFAULT
        if not isinstance(named, Format):
            return _DEFAULT
        return recipe_name if named.prompt or named.prompt_format else _DEFAULT
    known = WITH_RECIPE.get(recipe_name)
    return (known.prompt_format or known.name) if known else _DEFAULT


def states_its_prompt(recipe_name: str) -> bool:
    """Return whether the prompt template of a recipe is known."""
    if "." not in recipe_name:
        return recipe_name in WITH_RECIPE
    try:
        named = lookup.own(recipe_name, key="data.recipe")
    except ConfigError:
        return False
    return isinstance(named, Format) and bool(named.prompt or named.prompt_format)


def format_of_published(adapter: str) -> str | None:
    """Return the name of the prompt format of a published adapter; None if it is unknown."""
    for name, entry in FORMATS.items():
        if any(re.fullmatch(pattern, adapter, re.IGNORECASE) for pattern in entry.used_by):
            return name
    return None


def _format(name: str, among: Mapping[str, Format], *, part: str, what: str, key: str) -> Format:
    """Return the format `name`; a user's function becomes the `part` of a new format."""
    named: Any = lookup.entry(name, among=among, what=what, key=key)
    if isinstance(named, Format):
        if part == "prompt" and not named.prompt and named.prompt_format:
            if f"={name}: prompt_format" in key:
                raise ConfigError(
                    f"{key}={name} refers back to itself, so it has no prompt. Give one of these "
                    "formats a prompt."
                )
            return _format(
                named.prompt_format, among, part=part, what=what, key=f"{key}={name}: prompt_format"
            )
        if getattr(named, part) is None and not (part == "prompt" and named.tokenizers_own):
            raise ConfigError(
                f"{key}={name} is a Format without a {part}. Give it one: Format({part}=...)."
            )
        return named
    if not callable(named):
        raise ConfigError(
            f"{key}={name} is neither a function nor a Format. It is {type(named).__name__}."
        )
    return Format(name, recipe=named) if part == "recipe" else Format(name, prompt=named)
