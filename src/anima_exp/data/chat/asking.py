"""Build what a model is given to answer a conversation: the ids that precede it in training.

ChatMasks builds its prompts here as well. Asking verifies nothing, so it works with templates that
cannot be trained with.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anima_exp.config import Thinking
from anima_exp.data.chat.conversation import Conversation, Message
from anima_exp.data.chat.end_of_turn import EndOfTurn
from anima_exp.data.chat.policy import SWITCH, variables, with_thinking
from anima_exp.data.chat.rendering import job
from anima_exp.data.chat.templates import ChatTemplate, render
from anima_exp.data.chat.tokens import ChatEncoder
from anima_exp.data.chat.verification import written_tokens
from anima_exp.errors import DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OPEN, CLOSE = "<think>", "</think>"  # the tags around an assistant's thinking


@dataclass(frozen=True)
class Prompt:
    """The text that a model continues, and its ids."""

    text: str
    ids: list[int]

    @property
    def opens_thinking(self) -> bool:
        """Whether the prompt ends inside the thinking of the answer, as some templates write it."""
        return self.text.rstrip().endswith(OPEN)


class ChatPrompts:
    """Build the prompts of conversations, with one template and tokenizer.

    Args:
        thinking: the value of data.thinking with which the model was trained.
        thinks: whether to ask for thinking; by default as `thinking` says.
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenizer: "PreTrainedTokenizerBase",
        *,
        thinking: Thinking = Thinking.template,
        thinks: bool | None = None,
    ) -> None:
        self.template, self.tokenizer = template, tokenizer
        self.encoder = ChatEncoder(tokenizer, written_tokens(template, tokenizer))
        self.thinking = thinking
        self.variables = variables(thinking, thinks=True) if thinks is None else {SWITCH: thinks}

    def prompt(self, conversation: Conversation) -> Prompt:
        """Return the prompt of the answer to a conversation.

        Raises:
            DataError: the template does not accept the conversation.
        """
        conversation = with_thinking(conversation, self.thinking)
        return prompt(
            conversation, self.template, self.tokenizer, self.encoder, variables=self.variables
        )

    @property
    def stop_ids(self) -> list[int]:
        """The ids that end an answer. There are none if the template does not say how it ends."""
        return stop_ids(self.template, self.tokenizer, self.encoder)

    @property
    def switches_thinking(self) -> bool:
        """Whether the template has a mode with thinking and one without."""
        return SWITCH in self.template.source

    def shows(self, tools: tuple[dict[str, Any], ...]) -> bool:
        """Return whether the template shows these tools to the model.

        Raises:
            DataError: the template does not accept them.
        """
        question = (Message("user", "a"),)
        with_tools, without = (
            self.prompt(Conversation(question, each)).text for each in (tools, ())
        )
        return with_tools != without


def prompt(
    conversation: Conversation,
    template: ChatTemplate,
    tokenizer: "PreTrainedTokenizerBase",
    encoder: ChatEncoder,
    *,
    variables: Mapping[str, Any],
) -> Prompt:
    """Return the prompt of the answer to a conversation, whose thinking is as it is to be shown.

    Raises:
        DataError: the template does not accept the conversation.
    """
    asked = job(conversation, [], encoder)
    [text] = render(
        template,
        tokenizer,
        [asked.messages],
        tools=asked.tools,
        generation_prompt=True,
        variables=variables,
    )
    return Prompt(encoder.show(text), encoder.encode(text))


def stop_ids(
    template: ChatTemplate,
    tokenizer: "PreTrainedTokenizerBase",
    encoder: ChatEncoder | None = None,
) -> list[int]:
    """Return the ids that end the answers of a template, that of a plain answer first."""
    encoder = encoder or ChatEncoder(tokenizer, written_tokens(template, tokenizer))
    eos = tokenizer.eos_token_id
    try:
        return EndOfTurn(template, tokenizer, encoder, {eos}).ids
    except DataError:  # a template that cannot be trained with
        return []


def with_opening(answer: str, prompt: Prompt) -> str:
    """Return an answer with the tag that opens its thinking, if the prompt has written it."""
    return f"{OPEN}\n{answer}" if prompt.opens_thinking else answer


def split_thinking(answer: str) -> tuple[str | None, str]:
    """Split an answer into its thinking, or None, and the rest.

    The thinking stands between tags at the start. An answer that was cut inside it has no rest.
    """
    if not answer.lstrip().startswith(OPEN):
        return None, answer
    thinking, _, rest = answer.lstrip().removeprefix(OPEN).partition(CLOSE)
    return thinking.strip("\n"), rest.lstrip("\n")


def is_thinking(answer: str) -> bool:
    """Return whether the text so far of an answer is inside its thinking, or may begin it."""
    text = answer.lstrip()
    return OPEN.startswith(text) or (text.startswith(OPEN) and CLOSE not in text)


def answered(answer: str) -> Message:
    """Return the assistant's message with an answer of a model, its thinking apart."""
    thinking, content = split_thinking(answer)
    return Message("assistant", content, thinking=thinking)
