"""Read rows of any known shape as conversations: data.recipe=auto."""

from collections.abc import Callable

from anima_exp.data import recipes
from anima_exp.data.chat import rows, texts
from anima_exp.data.chat.conversation import Conversation, Message
from anima_exp.data.chat.recognize import auto
from anima_exp.data.example import Example, Row

ConversationRecipe = Callable[[Row], Conversation | list[Conversation]]

_CONVERSATIONS: dict[str, ConversationRecipe] = {
    recipe.__name__: recipe
    for recipe in (
        rows.messages,
        rows.sharegpt,
        rows.prompt_completion_chat,
        texts.alpaca_chat,
        texts.oasst1_chat,
        texts.hh_rlhf_chat,
        texts.belle_chat,
    )
}
_CONVERSATIONS["alpaca"] = texts.alpaca_chat
_EXAMPLES: dict[str, Callable[[Row], Example | list[Example]]] = {
    recipe.__name__: recipe
    for recipe in (
        recipes.prompt_completion,
        recipes.prompt_response,
        recipes.input_output,
        recipes.flan_v2,
        recipes.chip2,
        recipes.unnatural_instructions,
    )
}


def any_shape(row: Row) -> Conversation | list[Conversation]:
    """Recognize the shape of one row, and read it as a conversation."""
    return recipe_of(auto([row]).recipe)(row)


def recipe_of(shape: str) -> ConversationRecipe:
    """Return the recipe that reads rows of a shape that `auto` has recognized as conversations.

    A prompt and its response become one user's turn and its answer.
    """
    if shape in _CONVERSATIONS:
        return _CONVERSATIONS[shape]
    examples = _EXAMPLES[shape]

    def read(row: Row) -> list[Conversation]:
        returned = examples(row)
        each = returned if isinstance(returned, list) else [returned]
        return [_conversation(example) for example in each]

    return read


def _conversation(example: Example) -> Conversation:
    return Conversation(
        (
            Message("user", example.prompt, number=1),
            Message("assistant", example.response, number=2),
        )
    )
